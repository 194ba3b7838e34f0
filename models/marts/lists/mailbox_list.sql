with mailboxes as (
    select * from {{ ref('int_listed_mailboxes') }}
),

campaign_days as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_campaign_days'),
            columns=['workspace_id', 'mailbox_id', 'domain_id', 'sent_date'] + listed_counts(),
            where=is_in_window('sent_date'),
        )
    }}
),

totals as (
    select
        workspace_id,
        mailbox_id,
        max(sent_date) as last_sent_on,
        {{ summed_counts('campaign_days', listed_counts()) }}
    from campaign_days
    where {{ is_requested_domain('campaign_days') }}
    -- by hashing, for which the constant is (rollup.sql)
    group by workspace_id, mailbox_id, '0'::xid
),

listed as (
    select
        mailboxes.workspace_id,
        mailboxes.mailbox_id,
        mailboxes.email,
        mailboxes.mailbox_provider,
        mailboxes.mailbox_status,
        nullif(mailboxes.domain_id, '') as domain_id,
        totals.last_sent_on,
        {{ counts_or_zero('totals', listed_counts()) }}
    from mailboxes
    -- full: it is hashed or merged. PostgreSQL takes both sides for a few rows, and would compare each with each in a left join
    full join totals
        on
            mailboxes.workspace_id = totals.workspace_id
            and mailboxes.mailbox_id = totals.mailbox_id
    -- not `is not null`, which would make it a left join
    where coalesce(mailboxes.mailbox_id, '') <> ''
)

select
    workspace_id,
    mailbox_id,
    email,
    mailbox_provider,
    mailbox_status,
    domain_id,
    last_sent_on,
    {{ public_counts(listed_counts()) }},
    {{ public_rates(campaign_rates()) }}
from listed
where
    -- with a campaign, the mailboxes that it sent from; with a domain, its own, and those that sent its mail
    ({{ request_campaign_id() }} is null or sent > 0)
    and ({{ request_domain_id() }} is null or domain_id = {{ request_domain_id() }} or sent > 0)
