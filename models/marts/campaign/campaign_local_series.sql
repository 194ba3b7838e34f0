with campaigns as (
    select * from {{ ref('int_requested_campaigns') }}
),

workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

slots as (
    select
        workspace_id,
        campaign_id,
        slot_at,
        sent,
        delivered,
        opened,
        clicked,
        replied
    from {{ ref('fct_send_slots') }} as fct_send_slots
    where
        {{ is_visible_as_of('fct_send_slots') }}
        and slot_at >= {{ request_range_start() }}::timestamp at time zone 'UTC'
        and slot_at < ({{ request_range_end() }} + 1)::timestamp at time zone 'UTC'
),

-- the local dates of the window, whose ends are those of days in UTC
windows as (
    select
        workspace_id,
        timezone,
        ({{ request_range_start() }}::timestamp at time zone 'UTC' at time zone timezone)::date as first_date,
        (
            (({{ request_range_end() }} + 1)::timestamp - interval '1 microsecond') at time zone 'UTC' at time zone timezone
        )::date as last_date
    from workspaces
),

-- the date of a bucket is its first day in the window
buckets as (
    select distinct
        windows.workspace_id,
        greatest(date_trunc({{ request_group_by() }}, day)::date, windows.first_date) as date
    from windows
    cross join generate_series(windows.first_date::timestamp, windows.last_date::timestamp, interval '1 day') as day
),

-- lateral: the slots of one campaign come in their order, and need no sort. All zones' offsets are multiples of 15 minutes
totals as (
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        bucket_totals.*
    from campaigns
    inner join windows on campaigns.workspace_id = windows.workspace_id
    cross join
        lateral (
            select
                greatest(
                    date_trunc({{ request_group_by() }}, slots.slot_at at time zone windows.timezone)::date, windows.first_date
                ) as date,
                {{ summed_counts('slots', ['sent', 'delivered', 'opened', 'clicked', 'replied']) }}
            from slots
            where
                slots.workspace_id = campaigns.workspace_id
                and slots.campaign_id = campaigns.campaign_id
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
    coalesce(totals.replied, 0) as replied
from campaigns
inner join buckets using (workspace_id)
left join totals using (workspace_id, campaign_id, date)
order by workspace_id, campaign_id, date
