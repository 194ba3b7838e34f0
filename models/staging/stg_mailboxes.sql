with source as (
    select * from {{ source('raw', 'mailboxes') }}
)

select
    {{ app_id('mailbox_id') }} as mailbox_id,
    {{ app_id('workspace_id') }} as workspace_id,
    {{ app_id('domain_id') }} as domain_id,
    {{ clean_text('email') }} as email,
    {{ clean_text('provider') }} as mailbox_provider,
    {{ clean_text('status') }} as mailbox_status,
    {{ displayable_time('created_at') }} as created_at,
    {{ displayable_time('updated_at') }} as updated_at,
    {{ app_problems(id='mailbox_id', workspace='workspace_id', times=['created_at', 'updated_at']) }} as problems
from source
