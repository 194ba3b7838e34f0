with source as (
    select * from {{ source('raw', 'workspaces') }}
),

-- names of IANA; the others are files of the server: its own zone, and clocks that count leap seconds
time_zones as (
    select distinct on (lower(name))
        name,
        lower(name) as lower_name
    from pg_catalog.pg_timezone_names
    where name not in ('localtime', 'posixrules', 'Factory') and name !~ '^(posix|right)/'
    order by lower(name), name collate "C"
),

with_zone as (
    select
        source.*,
        time_zones.name as zone
    from source
    left join time_zones on lower({{ clean_text('source.timezone') }}) = time_zones.lower_name
)

select
    {{ app_id('workspace_id') }} as workspace_id,
    {{ clean_text('tenant_id') }} as tenant_id,
    {{ clean_text('name') }} as workspace_name,
    zone as timezone,
    {{ clean_text('status') }} as workspace_status,
    {{ displayable_time('created_at') }} as created_at,
    {{ displayable_time('updated_at') }} as updated_at,
    {{
        app_problems(
            id='workspace_id',
            times=['created_at', 'updated_at'],
            others={'unknown_timezone': 'zone is null'},
        )
    }} as problems
from with_zone
