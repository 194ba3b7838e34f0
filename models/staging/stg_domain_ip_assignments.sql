with source as (
    select * from {{ source('raw', 'domain_ip_assignments') }}
)

select
    {{ as_id('domain_id') }} as domain_id,
    {{ as_id('smtp_ip_address_id') }} as smtp_ip_address_id,
    status as assignment_status,
    assigned_at,
    expires_at
from source
