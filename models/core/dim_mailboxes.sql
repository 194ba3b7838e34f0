{{
    config(
        unique_key=['workspace_id', 'mailbox_id'],
        indexes=[{'columns': ['workspace_id', 'mailbox_id']}],
        meta={'full_snapshot': true},
    )
}}

with mailboxes as (
    select * from {{ ref('stg_mailboxes') }}
    where mailbox_id <> '' and workspace_id <> ''
),

campaign_days as (
    select * from {{ ref('fct_campaign_days') }}
    where {{ is_current() }} and not {{ is_blank('mailbox_id') }}
),

mailboxes_with_mail as (
    select distinct
        workspace_id,
        mailbox_id
    from campaign_days
)

select
    workspace_id,
    mailbox_id,
    coalesce(mailboxes.domain_id, '') as domain_id,
    -- a mailbox without an address, or that is not in the app, is named by its id
    coalesce(nullif(mailboxes.email, ''), mailbox_id) as email,
    mailboxes.mailbox_provider,
    mailboxes.mailbox_status,
    mailboxes.mailbox_id is not null as is_in_app,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from mailboxes
full join mailboxes_with_mail using (workspace_id, mailbox_id)
