with source as (
    select * from {{ source('raw', 'campaigns') }}
)

select
    {{ as_id('campaign_id') }} as campaign_id,
    {{ as_id('workspace_id') }} as workspace_id,
    name as campaign_name,
    status as campaign_status,
    created_at,
    updated_at
from source
