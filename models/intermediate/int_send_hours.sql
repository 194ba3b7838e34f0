with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

midnights as (
    select day at time zone 'UTC' as midnight
    from
        generate_series(
            {{ request_range_start() }}::timestamp, {{ request_range_end() }}::timestamp + interval '1 day', interval '1 day'
        ) as day
),

-- an hour of a zone that differs from UTC by whole hours, all through the window, is an hour of UTC
zones as (
    select
        workspace_id,
        timezone,
        case
            when exists (
                select from midnights
                where date_trunc('hour', midnight at time zone timezone) <> midnight at time zone timezone
            ) then 15
            else 60
        end as slot_minutes
    from workspaces
),

-- Of these only one is read: the slots of a campaign, or those of all campaigns, long or short. Of a campaign there are no long
-- ones: its short ones are summed before their hours are put on the clock of the zone, which costs more than the sum.
slots as not materialized (
    select
        workspace_id,
        date_bin('1 hour', slot_at, timestamptz '2000-01-01 00:00:00+00') as slot_at,
        60 as slot_minutes,
        sum(sent)::int as sent,
        sum(opened)::int as opened,
        sum(clicked)::int as clicked,
        sum(replied)::int as replied
    from {{ ref('fct_send_slots') }} as slots
    where
        {{ is_visible_as_of('slots') }}
        and slots.slot_at >= {{ request_range_start() }}::timestamp at time zone 'UTC'
        and slots.slot_at < ({{ request_range_end() }} + 1)::timestamp at time zone 'UTC'
        and campaign_id = {{ request_campaign_id() }}
    group by workspace_id, date_bin('1 hour', slots.slot_at, timestamptz '2000-01-01 00:00:00+00')
    union all
    {%- for fact, slot_at, slot_minutes, condition in [
        (ref('fct_send_slots'), 'slot_at', 15, 'campaign_id = ' ~ request_campaign_id()),
        (ref('fct_workspace_hours'), 'hour_at', 60, request_campaign_id() ~ ' is null'),
        (ref('fct_workspace_slots'), 'slot_at', 15, request_campaign_id() ~ ' is null'),
    ] %}
    select
        workspace_id,
        {{ slot_at }} as slot_at,
        {{ slot_minutes }} as slot_minutes,
        sent,
        opened,
        clicked,
        replied
    from {{ fact }} as slots
    where
        {{ is_visible_as_of('slots') }}
        and {{ slot_at }} >= {{ request_range_start() }}::timestamp at time zone 'UTC'
        and {{ slot_at }} < ({{ request_range_end() }} + 1)::timestamp at time zone 'UTC'
        and {{ condition }}
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
)

select
    zones.workspace_id,
    hours.local_hour::date as local_date,
    extract(isodow from hours.local_hour)::int as weekday,
    extract(hour from hours.local_hour)::int as hour,
    hours.sent,
    hours.opened,
    hours.clicked,
    hours.replied
from zones
-- lateral: the slots of one workspace come in the order of their hours, and need no sort
cross join
    lateral (
        select
            date_bin('1 hour', slots.slot_at at time zone zones.timezone, timestamp '2000-01-01') as local_hour,
            sum(slots.sent)::int as sent,
            sum(slots.opened)::int as opened,
            sum(slots.clicked)::int as clicked,
            sum(slots.replied)::int as replied
        from slots
        where slots.workspace_id = zones.workspace_id and slots.slot_minutes = zones.slot_minutes
        group by local_hour
    ) as hours
