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

-- of campaigns that sent in the window, all at once. By hashing, for which the constant is (rollup.sql)
totals as (
    select
        workspace_id,
        campaign_id,
        {{ summed_counts('campaign_days', ['delivered', 'opened', 'replied']) }}
    from campaign_days
    group by workspace_id, campaign_id, '0'::xid
),

named as (
    select
        totals.workspace_id,
        totals.campaign_id,
        campaigns.campaign_name,
        totals.delivered,
        totals.opened,
        totals.replied
    from totals
    -- full: it is hashed or merged. PostgreSQL takes both sides for a few rows, and would compare each with each in an inner join
    full join campaigns
        on
            totals.workspace_id = campaigns.workspace_id
            and totals.campaign_id = campaigns.campaign_id
    -- both sides; not `is not null`, which would make it another join
    where coalesce(totals.campaign_id, '') <> '' and coalesce(campaigns.campaign_id, '') <> ''
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
    from named
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
