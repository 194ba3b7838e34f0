with source as (
    select * from {{ source('raw', 'recipient_domain_mx') }}
)

select
    lower({{ clean_text('domain') }}) as domain,
    rtrim(lower({{ clean_text('mx_host') }}), '.') as mx_host,
    status as mx_status,
    resolved_at
from source
where {{ clean_text('domain') }} is not null
