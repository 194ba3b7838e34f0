{%- set max_campaigns = 5 %}

with campaigns as (
    select
        workspace_id,
        campaign_id,
        campaign_name
    from {{ ref('dim_campaigns') }} as dim_campaigns
    where {{ is_visible_as_of('dim_campaigns') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

-- of campaigns that sent in the window: a cell exists only if something was sent
totals as (
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
        totals.delivered,
        totals.opened,
        totals.replied,
        row_number() over (
            partition by workspace_id
            order by
                {{ wilson_lower_bound('totals.replied', 'totals.delivered') }} desc,
                {{ wilson_lower_bound('totals.opened', 'totals.delivered') }} desc,
                campaign_id collate "C"
        ) as place
    from totals
    inner join campaigns using (workspace_id, campaign_id)
)

select
    workspace_id,
    place,
    campaign_id,
    campaign_name,
    {{ rate('open_rate') }} as open_rate,
    {{ rate('reply_rate') }} as reply_rate
from ranked
where place <= {{ max_campaigns }}
order by workspace_id, place
