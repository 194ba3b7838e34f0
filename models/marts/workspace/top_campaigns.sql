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

-- of campaigns that sent in the window. lateral: the sums of one campaign need no sort
totals as (
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        campaigns.campaign_name,
        campaign_totals.*
    from campaigns
    cross join
        lateral (
            select {{ summed_counts('campaign_days', ['delivered', 'opened', 'replied']) }}
            from campaign_days
            where
                campaign_days.workspace_id = campaigns.workspace_id
                and campaign_days.campaign_id = campaigns.campaign_id
            having count(*) > 0
        ) as campaign_totals
),

ranked as (
    select
        *,
        row_number() over (
            partition by workspace_id
            order by
                {{ wilson_lower_bound('replied', 'delivered') }} desc,
                {{ wilson_lower_bound('opened', 'delivered') }} desc,
                campaign_id collate "C"
        ) as place
    from totals
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
