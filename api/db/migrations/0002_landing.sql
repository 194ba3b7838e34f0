-- depends: 0001_roles_and_schemas

-- The landing: append-only, at-least-once, any order. Names and columns are fixed, others write to them.
set local role mailmart_owner;

create table raw.workspaces (
    workspace_id text primary key,
    tenant_id text,
    name text,
    timezone text not null default 'UTC',
    status text,
    created_at timestamptz,
    updated_at timestamptz
);

create table raw.campaigns (
    campaign_id text primary key,
    workspace_id text,
    name text,
    status text,
    created_at timestamptz,
    updated_at timestamptz
);

create table raw.domains (
    domain_id text primary key,
    workspace_id text,
    domain text,
    created_at timestamptz,
    updated_at timestamptz
);

create table raw.mailboxes (
    mailbox_id text primary key,
    workspace_id text,
    domain_id text,
    email text,
    provider text,
    status text,
    created_at timestamptz,
    updated_at timestamptz
);

create table raw.smtp_ip_addresses (
    smtp_ip_address_id text primary key,
    ip_address text,
    status text,
    reputation_state text,
    provider_blacklist_status jsonb,
    last_reputation_check timestamptz,
    updated_at timestamptz
);

create table raw.domain_ip_assignments (
    domain_id text,
    smtp_ip_address_id text,
    status text,
    assigned_at timestamptz,
    expires_at timestamptz,
    primary key (domain_id, smtp_ip_address_id)
);

create table raw.email_events (
    event_id text,
    workspace_id text,
    message_id text,
    event_type text,
    occurred_at timestamptz,
    campaign_id text,
    mailbox_id text,
    domain_id text,
    recipient_hash text,
    recipient_domain text,
    smtp_status text,
    smtp_code int,
    diagnostic text,
    is_machine boolean,
    url text,
    user_agent text,
    loaded_at timestamptz not null default clock_timestamp()
);

create index email_events_loaded_at on raw.email_events (loaded_at);

create table raw.webhook_payloads (
    payload_id bigint generated always as identity primary key,
    provider text not null,
    workspace_id text,
    payload jsonb not null,
    loaded_at timestamptz not null default clock_timestamp()
);

create index webhook_payloads_loaded_at on raw.webhook_payloads (loaded_at);

reset role;
