with domains as (
    select
        workspace_id,
        domain_id,
        domain
    from {{ ref('dim_domains') }} as dim_domains
    where {{ is_visible_as_of('dim_domains') }}
),

mailboxes as (
    select * from {{ ref('int_requested_mailboxes') }}
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

-- Added up before the mailboxes are looked up: fewer rows to join. By hashing, for which the constant is (rollup.sql).
mailbox_totals as (
    select
        workspace_id,
        mailbox_id,
        domain_id,
        max(sent_date) as last_sent_on,
        {{ summed_counts('campaign_days', listed_counts()) }}
    from campaign_days
    group by workspace_id, mailbox_id, domain_id, '0'::xid
),

domain_totals as (
    select
        mailbox_totals.workspace_id,
        {{ domain_of('mailbox_totals', 'mailboxes') }} as domain_id,
        max(mailbox_totals.last_sent_on) as last_sent_on,
        {{ summed_counts('mailbox_totals', listed_counts()) }}
    from mailbox_totals
    -- full: it is hashed or merged. PostgreSQL takes both sides for a few rows, and would compare each with each in a left join
    full join mailboxes
        on
            mailbox_totals.workspace_id = mailboxes.workspace_id
            and mailbox_totals.mailbox_id = mailboxes.mailbox_id
    -- mailboxes that sent something; not `is not null`, which would make it a left join
    where coalesce(mailbox_totals.sent, 0) > 0
    group by mailbox_totals.workspace_id, {{ domain_of('mailbox_totals', 'mailboxes') }}, '0'::xid
),

mailboxes_by_domain as (
    select
        workspace_id,
        domain_id,
        count(*) as mailboxes
    from mailboxes
    group by workspace_id, domain_id, '0'::xid
),

listed as (
    select
        domains.workspace_id,
        domains.domain_id,
        domains.domain,
        coalesce(mailboxes_by_domain.mailboxes, 0) as mailboxes,
        domain_totals.last_sent_on,
        {{ counts_or_zero('domain_totals', listed_counts()) }}
    from domains
    full join domain_totals
        on
            domains.workspace_id = domain_totals.workspace_id
            and domains.domain_id = domain_totals.domain_id
    full join mailboxes_by_domain
        on
            domains.workspace_id = mailboxes_by_domain.workspace_id
            and domains.domain_id = mailboxes_by_domain.domain_id
    where coalesce(domains.domain_id, '') <> ''
)

select
    workspace_id,
    domain_id,
    domain,
    mailboxes,
    last_sent_on,
    {{ public_counts(listed_counts()) }},
    {{ public_rates(campaign_rates()) }}
from listed
-- with a campaign, the domains that it sent from
where {{ request_campaign_id() }} is null or sent > 0
