with {{ requested_campaigns() }},

{{
    requested_campaign_days([
        'sent_date',
        'sent',
        'delivered',
        'bounced',
        'opened',
        'clicked',
        'replied',
        'complained',
    ])
}},

days as (
    select day::date as day
    -- timestamps: a series of dates steps in the session's zone, and loses a day where its clocks change at midnight
    from generate_series({{ request_range_start() }}::timestamp, {{ request_range_end() }}::timestamp, interval '1 day') as day
),

-- a bucket is named by its first day inside the window
dated_days as (
    select
        day,
        greatest(date_trunc({{ request_group_by() }}, day::timestamp)::date, {{ request_range_start() }}) as date
    from days
),

bucketed as (
    select
        campaign_days.workspace_id,
        campaign_days.campaign_id,
        dated_days.date,
        sum(campaign_days.sent) as sent,
        sum(campaign_days.delivered) as delivered,
        sum(campaign_days.opened) as opened,
        sum(campaign_days.clicked) as clicked,
        sum(campaign_days.replied) as replied,
        sum(campaign_days.bounced) as bounced,
        sum(campaign_days.complained) as spam_complaints
    from campaigns
    inner join campaign_days
        on
            campaigns.workspace_id = campaign_days.workspace_id
            and campaigns.campaign_id = campaign_days.campaign_id
    inner join dated_days on campaign_days.sent_date = dated_days.day
    group by campaign_days.workspace_id, campaign_days.campaign_id, dated_days.date
),

buckets as (
    select distinct date from dated_days
)

-- complete: a bucket without mail is there with zeros
select
    workspace_id,
    campaign_id,
    date,
    coalesce(bucketed.sent, 0)::bigint as sent,
    coalesce(bucketed.delivered, 0)::bigint as delivered,
    coalesce(bucketed.opened, 0)::bigint as opened,
    coalesce(bucketed.clicked, 0)::bigint as clicked,
    coalesce(bucketed.replied, 0)::bigint as replied,
    coalesce(bucketed.bounced, 0)::bigint as bounced,
    coalesce(bucketed.spam_complaints, 0)::bigint as spam_complaints
from campaigns
cross join buckets
left join bucketed using (workspace_id, campaign_id, date)
order by workspace_id, campaign_id, date
