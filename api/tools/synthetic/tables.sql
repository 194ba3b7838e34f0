-- Inserts the rows of the app's tables. Idempotent.
with numbers as (
    select
        workspace,
        'ws_demo_' || workspace as workspace_id
    from generate_series(1, %(workspaces)s) as workspace
),

workspaces as (
    insert into raw.workspaces (workspace_id, tenant_id, name, timezone, status, created_at, updated_at)
    select
        workspace_id,
        'tenant_' || workspace,
        'Workspace ' || workspace,
        (%(zones)s::text[])[1 + (workspace - 1) %% cardinality(%(zones)s::text[])],
        'active',
        %(until)s::date - %(days)s::int,
        %(until)s::date - %(days)s::int
    from numbers
    on conflict (workspace_id) do nothing
),

campaigns as (
    insert into raw.campaigns (campaign_id, workspace_id, name, status, created_at, updated_at)
    select
        'cmp_demo_' || campaign,
        'ws_demo_' || (1 + (campaign - 1) %% %(workspaces)s),
        (%(names)s::text[])[1 + (campaign - 1) %% cardinality(%(names)s::text[])] || ' ' || campaign,
        (%(statuses)s::text[])[1 + (campaign - 1) %% cardinality(%(statuses)s::text[])],
        %(until)s::date - %(days)s::int,
        %(until)s::date - %(days)s::int
    from generate_series(1, %(campaigns)s) as campaign
    on conflict (campaign_id) do nothing
),

domains as (
    insert into raw.domains (domain_id, workspace_id, domain, created_at, updated_at)
    select
        'dom_demo_' || workspace || '_' || domain,
        workspace_id,
        'mail' || domain || '.workspace' || workspace || '.example',
        %(until)s::date - %(days)s::int,
        %(until)s::date - %(days)s::int
    from numbers, generate_series(1, %(domains)s) as domain
    on conflict (domain_id) do nothing
),

mailboxes as (
    insert into raw.mailboxes (mailbox_id, workspace_id, domain_id, email, provider, status, created_at, updated_at)
    select
        'mbx_demo_' || workspace || '_' || domain || '_' || mailbox,
        workspace_id,
        'dom_demo_' || workspace || '_' || domain,
        'sender' || mailbox || '@mail' || domain || '.workspace' || workspace || '.example',
        (array['google', 'microsoft', 'smtp'])[1 + mailbox %% 3],
        'active',
        %(until)s::date - %(days)s::int,
        %(until)s::date - %(days)s::int
    from numbers, generate_series(1, %(domains)s) as domain, generate_series(1, %(mailboxes)s) as mailbox
    on conflict (mailbox_id) do nothing
),

ip_addresses as (
    insert into raw.smtp_ip_addresses (
        smtp_ip_address_id, ip_address, status, reputation_state, provider_blacklist_status, last_reputation_check, updated_at
    )
    select
        'ip_demo_' || workspace || '_' || domain,
        '192.0.2.' || (1 + (workspace * 8 + domain) %% 254),
        'active',
        'good',
        -- providers use both shapes
        case
            when workspace = 1 and domain = %(listed_domain)s
                then jsonb_build_object('spamhaus', jsonb_build_object('listed', true, 'since', %(listed_since)s::date))
            when workspace %% 3 = 2 and domain = 1 then '{"spamhaus": {"listed": true, "since": "2025-11-01"}}'::jsonb
            when domain = 1 then '{"spamhaus": false, "barracuda": false}'::jsonb
            else '{"spamhaus": {"listed": false}}'::jsonb
        end,
        %(until)s::date - interval '14 hours',
        %(until)s::date
    from numbers, generate_series(1, %(domains)s) as domain
    on conflict (smtp_ip_address_id) do nothing
)

insert into raw.domain_ip_assignments (domain_id, smtp_ip_address_id, status, assigned_at)
select
    'dom_demo_' || workspace || '_' || domain,
    'ip_demo_' || workspace || '_' || domain,
    'active',
    %(until)s::date - %(days)s::int
from numbers, generate_series(1, %(domains)s) as domain
on conflict do nothing
