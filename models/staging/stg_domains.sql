with source as (
    select * from {{ source('raw', 'domains') }}
)

select
    {{ as_id('domain_id') }} as domain_id,
    {{ as_id('workspace_id') }} as workspace_id,
    domain,
    created_at,
    updated_at
from source
