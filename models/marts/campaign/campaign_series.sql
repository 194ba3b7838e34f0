with campaigns as (
    select * from {{ ref('int_requested_campaigns') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

-- the date of a bucket is its first day in the window
buckets as (
    select distinct greatest(date_trunc({{ request_group_by() }}, day)::date, {{ request_range_start() }}) as date
    -- timestamps: a series of dates steps in the session's zone, and loses a day if its clocks change at midnight
    from generate_series({{ request_range_start() }}::timestamp, {{ request_range_end() }}::timestamp, interval '1 day') as day
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
                greatest(
                    date_trunc({{ request_group_by() }}, campaign_days.sent_date::timestamp)::date, {{ request_range_start() }}
                ) as date,
                {{ summed_counts('campaign_days', [
                    'sent', 'delivered', 'opened', 'clicked', 'replied', 'bounced', 'complained',
                ]) }}
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
    coalesce(totals.sent, 0) as sent,
    coalesce(totals.delivered, 0) as delivered,
    coalesce(totals.opened, 0) as opened,
    coalesce(totals.clicked, 0) as clicked,
    coalesce(totals.replied, 0) as replied,
    coalesce(totals.bounced, 0) as bounced,
    coalesce(totals.complained, 0) as spam_complaints
from campaigns
cross join buckets
left join totals using (workspace_id, campaign_id, date)
order by workspace_id, campaign_id, date
