with campaigns as (
    select campaign_id from {{ ref('dim_campaigns') }} as dim_campaigns
    where {{ is_visible_as_of('dim_campaigns') }}
),

requested as (
    select jsonb_array_elements_text({{ request_campaign_ids() }}) as campaign_id
    union all
    select {{ request_campaign_id() }} as campaign_id
)

select
    {{ request_workspace_id() }} as workspace_id,
    requested.campaign_id
from requested
left join campaigns on requested.campaign_id = campaigns.campaign_id
where requested.campaign_id is not null and campaigns.campaign_id is null
