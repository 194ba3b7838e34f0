with campaigns as (
    select * from {{ ref('int_requested_campaigns') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

days as (
    select day::date as day
    -- timestamps: a series of dates steps in the session's zone, and loses a day if its clocks change at midnight
    from generate_series({{ request_range_start() }}::timestamp, {{ request_range_end() }}::timestamp, interval '1 day') as day
),

-- the date of a bucket is its first day in the window
bucket_days as (
    select
        day,
        greatest(date_trunc({{ request_group_by() }}, day::timestamp)::date, {{ request_range_start() }}) as date
    from days
),

totals as (
    select
        campaign_days.workspace_id,
        campaign_days.campaign_id,
        bucket_days.date,
        sum(campaign_days.sent) as sent,
        sum(campaign_days.delivered) as delivered,
        sum(campaign_days.opened) as opened,
        sum(campaign_days.clicked) as clicked,
        sum(campaign_days.replied) as replied,
        sum(campaign_days.bounced) as bounced,
        sum(campaign_days.complained) as complained
    from campaigns
    inner join campaign_days
        on
            campaigns.workspace_id = campaign_days.workspace_id
            and campaigns.campaign_id = campaign_days.campaign_id
    inner join bucket_days on campaign_days.sent_date = bucket_days.day
    group by campaign_days.workspace_id, campaign_days.campaign_id, bucket_days.date
),

buckets as (
    select distinct date from bucket_days
)

-- complete: a bucket without mail has a row of zeros
select
    workspace_id,
    campaign_id,
    date,
    coalesce(totals.sent, 0)::bigint as sent,
    coalesce(totals.delivered, 0)::bigint as delivered,
    coalesce(totals.opened, 0)::bigint as opened,
    coalesce(totals.clicked, 0)::bigint as clicked,
    coalesce(totals.replied, 0)::bigint as replied,
    coalesce(totals.bounced, 0)::bigint as bounced,
    coalesce(totals.complained, 0)::bigint as spam_complaints
from campaigns
cross join buckets
left join totals using (workspace_id, campaign_id, date)
order by workspace_id, campaign_id, date
