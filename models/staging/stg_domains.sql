with source as (
    select * from {{ source('raw', 'domains') }}
)

select
    domain_id,
    workspace_id,
    domain,
    created_at,
    updated_at
from source
