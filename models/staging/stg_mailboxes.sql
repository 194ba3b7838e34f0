with source as (
    select * from {{ source('raw', 'mailboxes') }}
)

select
    mailbox_id,
    workspace_id,
    domain_id,
    email,
    provider as mailbox_provider,
    status as mailbox_status,
    created_at,
    updated_at
from source
