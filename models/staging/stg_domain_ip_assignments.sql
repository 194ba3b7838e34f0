with source as (
    select * from {{ source('raw', 'domain_ip_assignments') }}
)

select
    domain_id,
    smtp_ip_address_id,
    status as assignment_status,
    assigned_at,
    expires_at
from source
