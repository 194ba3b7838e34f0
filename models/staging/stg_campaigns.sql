{%- set statuses = "('draft', 'scheduled', 'sending', 'paused', 'completed')" %}

with source as (
    select * from {{ source('raw', 'campaigns') }}
)

select
    {{ app_id('campaign_id') }} as campaign_id,
    {{ app_id('workspace_id') }} as workspace_id,
    {{ clean_text('name') }} as campaign_name,
    lower({{ clean_text('status') }}) as campaign_status,
    {{ displayable_time('created_at') }} as created_at,
    {{ displayable_time('updated_at') }} as updated_at,
    {{
        app_problems(
            id='campaign_id',
            workspace='workspace_id',
            times=['created_at', 'updated_at'],
            others={'unknown_status': 'lower(' ~ clean_text('status') ~ ') not in ' ~ statuses},
        )
    }} as problems
from source
