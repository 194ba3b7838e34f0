{%- set statuses = "('active', 'warming', 'scheduled', 'expired')" %}

with source as (
    select * from {{ source('raw', 'domain_ip_assignments') }}
)

select
    {{ app_id('domain_id') }} as domain_id,
    {{ app_id('smtp_ip_address_id') }} as smtp_ip_address_id,
    lower({{ clean_text('status') }}) as assignment_status,
    {{ displayable_time('assigned_at') }} as assigned_at,
    -- after the year 9999 it never expires; before the year 1 it has expired
    case
        when expires_at < timestamptz '10000-01-01 00:00:00+00'
            then greatest(expires_at, timestamptz '0001-01-01 00:00:00+00')
    end as expires_at,
    {{
        app_problems(
            times=['assigned_at', "nullif(expires_at, 'infinity')"],
            others={
                'no_id': app_id('domain_id') ~ " = '' or " ~ app_id('smtp_ip_address_id') ~ " = ''",
                'unknown_status': 'lower(' ~ clean_text('status') ~ ') not in ' ~ statuses,
            },
        )
    }} as problems
from source
