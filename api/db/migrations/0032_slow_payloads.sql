-- depends: 0025_bounded_bodies 0021_exact_watermarks
set local role mailmart_owner;

-- A body of raw.webhook_payloads that takes too long to read. It stays where it is, and staging does not read it: a row here names
-- it, and data quality reports that row. The row is new to the next build, as every other one of this log.
alter table raw.rejected_payloads add column payload_id bigint;

comment on column raw.rejected_payloads.payload_id is
'The row of raw.webhook_payloads that builds do not read, because it takes too long; null for what was not loaded at all.';

create unique index rejected_payloads_payload_id on raw.rejected_payloads (payload_id) where payload_id is not null;

-- The bodies that builds do not read. Few: each is the result of a build that ran into its timeout.
create function app.slow_payload_ids()
returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select array(
        select rejected_payloads.payload_id from raw.rejected_payloads
        where rejected_payloads.payload_id is not null
    );
end;

-- Names a body, so that builds no longer read it.
create function app.set_payload_aside(slow_payload_id bigint, new_reason text)
returns void
language sql
set search_path = pg_catalog, pg_temp
begin atomic
    insert into raw.rejected_payloads (provider, workspace_id, problem, reason, source, body_md5, payload_id)
    select
        webhook_payloads.provider,
        webhook_payloads.workspace_id,
        'unreadable_body',
        new_reason,
        'webhook_payloads ' || webhook_payloads.payload_id,
        md5('webhook_payloads ' || webhook_payloads.payload_id),
        webhook_payloads.payload_id
    from raw.webhook_payloads
    where webhook_payloads.payload_id = slow_payload_id
    on conflict do nothing;
end;

revoke execute on function app.slow_payload_ids() from public;
revoke execute on function app.set_payload_aside(bigint, text) from public;

reset role;
