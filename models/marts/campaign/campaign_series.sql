{%- set counts = workspace_counts() + ['bounced'] %}

with campaigns as (
    select * from {{ ref('int_requested_campaigns') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

buckets as (
    {{ request_buckets() }}
),

-- lateral: the days of one campaign come in their order, and need no sort
totals as (
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        bucket_totals.*
    from campaigns
    cross join
        lateral (
            select
                {{ bucket_start('campaign_days.sent_date::timestamp') }} as date,
                {{ summed_counts('campaign_days', counts + ['complained']) }}
            from campaign_days
            where
                campaign_days.workspace_id = campaigns.workspace_id
                and campaign_days.campaign_id = campaigns.campaign_id
            group by date
        ) as bucket_totals
)

-- complete: a bucket without mail has a row of zeros
select
    workspace_id,
    campaign_id,
    date,
    {{ counts_or_zero('totals', counts) }},
    coalesce(totals.complained, 0) as spam_complaints
from campaigns
cross join buckets
left join totals using (workspace_id, campaign_id, date)
order by workspace_id, campaign_id, date
