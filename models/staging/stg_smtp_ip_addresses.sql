{%- set is_listed = "(verdict = 'true'::jsonb or (jsonb_typeof(verdict) = 'object' and verdict -> 'listed' = 'true'::jsonb))" %}
{%- set is_readable = "case jsonb_typeof(verdict) when 'boolean' then true when 'null' then true
            when 'object' then coalesce(jsonb_typeof(verdict -> 'listed'), 'boolean') in ('boolean', 'null') else false end" %}

with source as (
    select * from {{ source('raw', 'smtp_ip_addresses') }}
),

-- {"list": true} and {"list": {"listed": true}} both occur; anything else is not listed
blacklists as (
    select
        source.smtp_ip_address_id,
        bool_or({{ is_listed }}) as is_listed,
        bool_and({{ is_readable }}) as is_readable
    from source
    cross join
        lateral jsonb_each(
            case when jsonb_typeof(source.provider_blacklist_status) = 'object' then source.provider_blacklist_status end
        ) as blacklist (name, verdict)
    group by source.smtp_ip_address_id
),

with_verdict as (
    select
        source.*,
        coalesce(blacklists.is_listed, false) as is_listed,
        coalesce(blacklists.is_readable, true)
        and coalesce(jsonb_typeof(source.provider_blacklist_status) in ('object', 'null'), true) as is_readable,
        -- a check in the future has not been made; clocks may differ by a day
        last_reputation_check > now() + interval '24 hours' as is_future_check
    from source
    left join blacklists on source.smtp_ip_address_id = blacklists.smtp_ip_address_id
)

select
    {{ app_id('smtp_ip_address_id') }} as smtp_ip_address_id,
    {{ clean_text('ip_address') }} as ip_address,
    {{ clean_text('status') }} as ip_address_status,
    {{ clean_text('reputation_state') }} as reputation_state,
    is_listed as is_blacklisted,
    case when not is_future_check then {{ displayable_time('last_reputation_check') }} end as last_reputation_check_at,
    {{ displayable_time('updated_at') }} as updated_at,
    {{
        app_problems(
            id='smtp_ip_address_id',
            times=['last_reputation_check', 'updated_at'],
            others={
                'invalid_blacklist_status': 'not is_readable',
                'future_timestamp': 'is_future_check and ' ~ displayable_time('last_reputation_check') ~ ' is not null',
            },
        )
    }} as problems
from with_verdict
