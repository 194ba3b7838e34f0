with source as (
    select * from {{ source('raw', 'domains') }}
)

select
    {{ app_id('domain_id') }} as domain_id,
    {{ app_id('workspace_id') }} as workspace_id,
    {{ clean_text('domain') }} as domain,
    {{ displayable_time('created_at') }} as created_at,
    {{ displayable_time('updated_at') }} as updated_at,
    {{ app_problems(id='domain_id', workspace='workspace_id', times=['created_at', 'updated_at']) }} as problems
from source
