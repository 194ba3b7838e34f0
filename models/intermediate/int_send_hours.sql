with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

send_slots as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_send_slots'),
            columns=['workspace_id', 'slot_at', 'sent', 'delivered', 'opened', 'clicked', 'replied'],
            where="slot_at >= " ~ request_range_start() ~ "::timestamp at time zone 'UTC'"
            ~ " and slot_at < (" ~ request_range_end() ~ " + 1)::timestamp at time zone 'UTC'",
        )
    }}
),

-- added up over campaigns first: fewer rows to convert to local time
slots as (
    select
        workspace_id,
        slot_at,
        sum(sent) as sent,
        sum(delivered) as delivered,
        sum(opened) as opened,
        sum(clicked) as clicked,
        sum(replied) as replied
    from send_slots
    group by workspace_id, slot_at
),

local_slots as (
    select
        slots.*,
        date_trunc('hour', slots.slot_at at time zone workspaces.timezone) as local_hour
    from slots
    inner join workspaces on slots.workspace_id = workspaces.workspace_id
)

select
    workspace_id,
    local_hour::date as local_date,
    extract(isodow from local_hour)::int as weekday,
    extract(hour from local_hour)::int as hour,
    sum(sent) as sent,
    sum(delivered) as delivered,
    sum(opened) as opened,
    sum(clicked) as clicked,
    sum(replied) as replied
from local_slots
group by workspace_id, local_hour
