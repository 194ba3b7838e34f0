with source as (
    select * from {{ source('raw', 'mailboxes') }}
)

select
    {{ as_id('mailbox_id') }} as mailbox_id,
    {{ as_id('workspace_id') }} as workspace_id,
    {{ as_id('domain_id') }} as domain_id,
    email,
    provider as mailbox_provider,
    status as mailbox_status,
    created_at,
    updated_at
from source
