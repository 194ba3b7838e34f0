with source as (
    select * from {{ source('raw', 'workspaces') }}
)

select
    {{ as_id('workspace_id') }} as workspace_id,
    tenant_id,
    name as workspace_name,
    timezone,
    status as workspace_status,
    created_at,
    updated_at
from source
