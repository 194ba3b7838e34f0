{%- set most = 5 %}

with campaigns as (
    select
        workspace_id,
        campaign_id,
        campaign_name
    from {{ ref('dim_campaigns') }} as dim_campaigns
    where {{ is_visible_as_of('dim_campaigns') }}
),

{{ requested_campaign_days(['delivered', 'opened', 'replied']) }},

-- a cell is there only where something was sent
summed as (
    select
        workspace_id,
        campaign_id,
        sum(delivered)::bigint as delivered,
        sum(opened)::bigint as opened,
        sum(replied)::bigint as replied
    from campaign_days
    group by workspace_id, campaign_id
),

ranked as (
    select
        workspace_id,
        campaign_id,
        campaigns.campaign_name,
        summed.delivered,
        summed.opened,
        summed.replied,
        row_number() over (
            partition by workspace_id
            order by
                {{ wilson_lower_bound('summed.replied', 'summed.delivered') }} desc,
                {{ wilson_lower_bound('summed.opened', 'summed.delivered') }} desc,
                campaign_id collate "C"
        ) as place
    from summed
    inner join campaigns using (workspace_id, campaign_id)
)

select
    workspace_id,
    place,
    campaign_id,
    campaign_name,
    {{ rate('opened', 'delivered') }} as open_rate,
    {{ rate('replied', 'delivered') }} as reply_rate
from ranked
where place <= {{ most }}
order by workspace_id, place
