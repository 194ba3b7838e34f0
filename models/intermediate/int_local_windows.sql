with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
)

-- the window's ends are those of days in UTC
select
    workspace_id,
    timezone,
    ({{ request_range_start() }}::timestamp at time zone 'UTC' at time zone timezone)::date as first_date,
    (
        (({{ request_range_end() }} + 1)::timestamp - interval '1 microsecond') at time zone 'UTC' at time zone timezone
    )::date as last_date
from workspaces
