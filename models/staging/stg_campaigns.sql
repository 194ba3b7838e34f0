with source as (
    select * from {{ source('raw', 'campaigns') }}
)

select
    campaign_id,
    workspace_id,
    name as campaign_name,
    status as campaign_status,
    created_at,
    updated_at
from source
