-- one select: PostgreSQL joins through it, as it does not through a query with a WITH of its own
select
    workspace_id,
    mailbox_id,
    domain_id,
    email,
    mailbox_provider,
    mailbox_status
from {{ ref('dim_mailboxes') }} as dim_mailboxes
where {{ is_visible_as_of('dim_mailboxes') }}
