with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
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

-- lateral: only the days of the requested workspace are summed
totals as (
    select
        workspaces.workspace_id,
        bucket_totals.*
    from workspaces
    cross join
        lateral (
            select
                greatest(
                    date_trunc({{ request_group_by() }}, campaign_days.sent_date::timestamp)::date, {{ request_range_start() }}
                ) as date,
                {{ summed_counts('campaign_days', [
                    'sent', 'delivered', 'opened', 'clicked', 'replied', 'bounced', 'complained',
                    'human_opened', 'human_clicked',
                ]) }}
            from campaign_days
            where campaign_days.workspace_id = workspaces.workspace_id
            group by date
        ) as bucket_totals
),

-- complete: a bucket without mail has a row of zeros
complete as (
    select
        workspace_id,
        date,
        coalesce(totals.sent, 0) as sent,
        coalesce(totals.delivered, 0) as delivered,
        coalesce(totals.opened, 0) as opened,
        coalesce(totals.clicked, 0) as clicked,
        coalesce(totals.replied, 0) as replied,
        coalesce(totals.bounced, 0) as bounced,
        coalesce(totals.complained, 0) as complained,
        coalesce(totals.human_opened, 0) as human_opened,
        coalesce(totals.human_clicked, 0) as human_clicked
    from workspaces
    cross join buckets
    left join totals using (workspace_id, date)
)

select
    workspace_id,
    date,
    sent,
    delivered,
    opened,
    clicked,
    replied,
    bounced,
    complained as spam_complaints,
    {{ rate('delivery_rate') }} as delivery_rate,
    {{ rate('open_rate') }} as open_rate,
    {{ rate('click_rate') }} as click_rate,
    {{ rate('reply_rate') }} as reply_rate,
    {{ rate('bounce_rate') }} as bounce_rate,
    {{ rate('human_open_rate') }} as human_open_rate,
    {{ rate('human_click_rate') }} as human_click_rate
from complete
order by workspace_id, date
