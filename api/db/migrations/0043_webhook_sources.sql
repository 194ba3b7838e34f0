-- depends: 0025_bounded_bodies 0029_erasure_of_workspaces

-- Webhooks over HTTP: `mailmart intake` receives them, with a role of its own that may do two things: look up the source of a token,
-- and store bodies of sources.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'mailmart_intake') then
        begin
            create role mailmart_intake nologin;
        exception when duplicate_object or unique_violation then
            null;
        end;
    end if;
    -- one that may create roles is their administrator, and yet no member of them
    if not pg_has_role(current_user, 'mailmart_intake', 'set') then
        execute format('grant mailmart_intake to %I', current_user);
    end if;
    execute format('grant connect on database %I to mailmart_intake', current_database());
end
$$;

set local role mailmart_owner;

create table app.webhook_sources (
    source_id text primary key,
    workspace_id text not null check (workspace_id <> ''),
    provider text not null,
    name text not null,
    requests_per_minute integer not null check (requests_per_minute between 1 and 1000000),
    created_at timestamptz not null default clock_timestamp(),
    revoked_at timestamptz,
    bodies bigint not null default 0,
    rejected bigint not null default 0,
    signature_failures bigint not null default 0,
    last_body_at timestamptz,
    last_rejected_at timestamptz,
    last_signature_failure_at timestamptz,
    last_signature_failure text
);

comment on table app.webhook_sources is
'One row per source of webhooks: a provider''s account that posts the mail of a workspace to a URL of its own.';
comment on column app.webhook_sources.requests_per_minute is 'More of them are refused with 429.';
comment on column app.webhook_sources.bodies is
'Bodies stored. These counts are written every few seconds; a process that is killed loses the last ones.';
comment on column app.webhook_sources.rejected is 'Bodies refused because they cannot be read; raw.rejected_payloads has them.';
comment on column app.webhook_sources.signature_failures is 'Requests refused because their signature was missing or wrong.';
comment on column app.webhook_sources.last_signature_failure is 'What was wrong with the last of them.';

-- A token is shown once, when it is made; here is only its SHA-256 (a token has 256 random bits: no salt, no stretching).
create table app.webhook_source_tokens (
    token_hash bytea primary key,
    source_id text not null references app.webhook_sources on delete cascade,
    created_at timestamptz not null default clock_timestamp(),
    valid_until timestamptz
);

create index webhook_source_tokens_source_id on app.webhook_source_tokens (source_id);
comment on table app.webhook_source_tokens is 'One row per token of a source: the end of its URL.';
comment on column app.webhook_source_tokens.valid_until is 'When a token that was replaced stops working; null for the current one.';

create table app.webhook_source_secrets (
    secret_id bigint generated always as identity primary key,
    source_id text not null references app.webhook_sources on delete cascade,
    secret text not null,
    created_at timestamptz not null default clock_timestamp(),
    valid_until timestamptz
);

create index webhook_source_secrets_source_id on app.webhook_source_secrets (source_id);
comment on table app.webhook_source_secrets is 'One row per signing secret of a source. Only the owner, and the intake for the source of a token, reads one.';
comment on column app.webhook_source_secrets.valid_until is 'When a secret that was replaced stops being accepted; null for a current one.';

create table app.intake_writers (
    writer_id uuid primary key,
    batch_number bigint not null,
    committed_at timestamptz not null default clock_timestamp()
);

comment on table app.intake_writers is
'One row per process of the intake: the last batch of bodies that it stored. So a batch whose connection was lost is stored once.';

-- The valid source of a token with this SHA-256; no row if the token is unknown or revoked.
create function app.find_webhook_source(hash_of_token bytea)
returns table (source_id text, workspace_id text, provider text, requests_per_minute integer, secrets text[])
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        sources.source_id,
        sources.workspace_id,
        sources.provider,
        sources.requests_per_minute,
        array(
            select secrets.secret from app.webhook_source_secrets as secrets
            where
                secrets.source_id = sources.source_id
                and (secrets.valid_until is null or secrets.valid_until > clock_timestamp())
            order by secrets.secret_id desc
        )
    from app.webhook_source_tokens as tokens
    inner join app.webhook_sources as sources on tokens.source_id = sources.source_id
    where
        tokens.token_hash = hash_of_token
        and (tokens.valid_until is null or tokens.valid_until > clock_timestamp())
        and sources.revoked_at is null;
end;

-- A text as the body of a webhook: its JSON, or why it cannot be stored. It is parsed once: pg_input_error_info() before the cast
-- would be as long again. PL/pgSQL: the planner would evaluate a cast of SQL first.
create function app.parse_webhook_body(body text, out payload jsonb, out reason text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    begin
        payload := body::jsonb;
    exception when data_exception or program_limit_exceeded then
        reason := 'not JSON: ' || left(sqlerrm, 500);
        return;
    end;
    if jsonb_typeof(payload) not in ('object', 'array') then
        reason := 'a JSON ' || jsonb_typeof(payload) || ', not an object or an array';
        payload := null;
    end if;
end
$$;

-- Stores a batch of bodies, one element of each array a body. A body with a problem goes to raw.rejected_payloads, and so does one
-- that is not JSON. Returns the lines (from 1) of the bodies that were not stored, and why: problem `no_source` if the source was
-- revoked or erased in the meantime.
-- A batch of a writer is stored once: if it comes again, because the connection was lost before the commit was confirmed, this waits
-- for the transaction before, and returns the same.
create function app.store_webhook_bodies(
    of_writer uuid, number bigint, source_ids text[], bodies text[], problems text[], reasons text[]
)
returns table (line bigint, problem text, reason text)
language plpgsql security definer
set search_path = app, pg_temp
-- the plan for the arrays of one batch is that of each
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    is_new boolean;
begin
    -- the provider deletes its copy after the 200
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    insert into intake_writers (writer_id, batch_number)
    values (of_writer, number)
    on conflict (writer_id) do update
    set batch_number = excluded.batch_number, committed_at = excluded.committed_at
    where intake_writers.batch_number < excluded.batch_number;
    is_new := found;
    if number = 1 then
        -- of processes that ended; a batch comes again within seconds
        delete from intake_writers
        where committed_at < clock_timestamp() - interval '1 day';
    end if;
    return query
    with incoming as (
        select
            entries.line,
            entries.source_id,
            entries.body,
            sources.provider,
            sources.workspace_id,
            case when sources.source_id is null then 'no_source' else entries.problem end as problem,
            case when sources.source_id is null then 'the source was revoked' else entries.reason end as reason
        from unnest(source_ids, bodies, problems, reasons) with ordinality as entries (source_id, body, problem, reason, line)
        left join webhook_sources as sources on entries.source_id = sources.source_id and sources.revoked_at is null
    ),

    checked as materialized (
        select
            incoming.line,
            incoming.source_id,
            incoming.body,
            incoming.provider,
            incoming.workspace_id,
            incoming.problem,
            parsed.payload,
            coalesce(incoming.reason, parsed.reason) as reason
        from incoming
        cross join lateral parse_webhook_body(case when incoming.reason is null then incoming.body end) as parsed
    ),

    stored as (
        insert into raw.webhook_payloads (provider, workspace_id, payload)
        select
            provider,
            workspace_id,
            payload
        from checked
        where reason is null and is_new
        order by line
    ),

    kept as (
        insert into raw.rejected_payloads (provider, workspace_id, problem, reason, source, body, body_md5)
        select
            provider,
            workspace_id,
            coalesce(problem, 'unreadable_body'),
            reason,
            source_id,
            left(body, 16384),
            md5(row(reason, left(body, 16384))::text)
        from checked
        where reason is not null and provider is not null and is_new
        order by line
        on conflict do nothing
    )

    select
        line,
        coalesce(problem, 'unreadable_body'),
        reason
    from checked
    where reason is not null
    order by line;
end
$$;

comment on column raw.rejected_payloads.source is 'Name of the file, or id of the source of webhooks.';

revoke execute on function app.parse_webhook_body(text) from public;
revoke execute on function app.find_webhook_source(bytea) from public;
revoke execute on function app.store_webhook_bodies(uuid, bigint, text[], text[], text[], text[]) from public;
grant usage on schema app to mailmart_intake;
grant execute on function app.find_webhook_source(bytea) to mailmart_intake;
grant execute on function app.store_webhook_bodies(uuid, bigint, text[], text[], text[], text[]) to mailmart_intake;

reset role;
