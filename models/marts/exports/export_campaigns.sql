with campaigns as (
    select
        workspace_id,
        campaign_id,
        campaign_name
    from {{ ref('dim_campaigns') }} as dim_campaigns
    where {{ is_visible_as_of('dim_campaigns') }}
)

select
    workspace_id,
    campaign_id,
    campaign_name
from campaigns
where {{ is_requested_campaign('campaign_id') }}
order by workspace_id collate "C", campaign_id collate "C"
