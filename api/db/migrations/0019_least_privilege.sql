-- depends: 0017_job_queue_functions

-- Each role gets what its processes need, and no more. docs/reference/privileges.md lists the result; a test compares it with the
-- catalogues. Functions that cross a border of privileges check what they are passed: the worker acts on what the API stored.

-- A login of an analyst who may see one workspace is a member of this role, and of no other.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'mailmart_workspace_analyst') then
        begin
            create role mailmart_workspace_analyst nologin;
        exception when duplicate_object or unique_violation then
            null;
        end;
    end if;
end
$$;

set local role mailmart_owner;

-- 1. What the API stores and a worker reads.

-- The settings of a request context that an export may store. Not among them: mailmart.workspace_id and mailmart.as_of, which the
-- worker takes from the export's row and from the publication. api/contract/parameters.py makes them; a test compares.
create function app.export_context_settings() returns text[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return array[
    'mailmart.range_start',
    'mailmart.range_end',
    'mailmart.group_by',
    'mailmart.campaign_id',
    'mailmart.domain_id',
    'mailmart.campaign_ids',
    'mailmart.timezone',
    'mailmart.granularity',
    'mailmart.metrics'
];

-- Refuses a resolved request that is not of the shape that api/exports/plan.py makes (ResolvedRequest), or whose context has a
-- setting that is not in the list: a worker sets all of them.
create function app.check_resolved_request(resolved jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    unknown_setting text;
begin
    if jsonb_typeof(resolved) is distinct from 'object'
        or jsonb_typeof(resolved -> 'context') is distinct from 'object'
        or jsonb_typeof(resolved -> 'params') is distinct from 'object'
        or jsonb_typeof(resolved -> 'response_fields') is distinct from 'object'
        or jsonb_typeof(resolved -> 'include_time_series') is distinct from 'boolean'
        or coalesce(jsonb_typeof(resolved -> 'campaign_ids'), '') not in ('array', 'null')
    then
        raise exception 'the resolved request of an export is malformed'
            using errcode = 'invalid_parameter_value',
            hint = 'It has context, params and response_fields (objects), campaign_ids (an array, or null) and include_time_series.';
    end if;
    if octet_length(resolved::text) > 2000000 then
        raise exception 'the resolved request of an export has more than 2 MB' using errcode = 'program_limit_exceeded';
    end if;
    if exists (
            select from jsonb_array_elements(
                case when jsonb_typeof(resolved -> 'campaign_ids') = 'array' then resolved -> 'campaign_ids' else '[]' end
            ) as ids
            where jsonb_typeof(ids.value) <> 'string'
        )
        or exists (select from jsonb_each(resolved -> 'context') as settings where jsonb_typeof(settings.value) <> 'string')
    then
        raise exception 'the campaign_ids and the context of an export have values that are no texts'
            using errcode = 'invalid_parameter_value';
    end if;
    select names.name into unknown_setting
    from jsonb_object_keys(resolved -> 'context') as names (name)
    where names.name <> all(app.export_context_settings())
    limit 1;
    if found then
        raise exception 'the context of an export must not set %', left(unknown_setting, 80)
            using errcode = 'invalid_parameter_value',
            hint = 'Allowed are ' || array_to_string(app.export_context_settings(), ', ') || '.';
    end if;
end
$$;

create or replace function app.request_export(
    new_export_id text,
    new_type text,
    new_format text,
    new_request jsonb,
    new_resolved jsonb,
    new_units_total bigint,
    new_idempotency_key text
)
returns app.exports
language plpgsql security definer
set search_path = app, pg_temp
as $$
declare
    workspace text := nullif(current_setting('mailmart.workspace_id', true), '');
    export app.exports;
    own_seconds double precision;
    queued_seconds double precision;
    new_priority integer;
begin
    if workspace is null then
        raise exception 'mailmart.workspace_id is not set';
    end if;
    -- the id becomes a folder of the storage, type and format are looked up by their names
    if new_export_id !~ '^exp_[0-9a-f]{24}$' then
        raise exception 'the id of an export is exp_ and 24 hexadecimal digits' using errcode = 'invalid_parameter_value';
    end if;
    if new_type !~ '^[a-z][a-z0-9_]{0,62}$' or new_format !~ '^[a-z0-9]{1,16}$' then
        raise exception 'the type or the format of an export is no name' using errcode = 'invalid_parameter_value';
    end if;
    if jsonb_typeof(new_request) is distinct from 'object' or octet_length(new_request::text) > 2000000 then
        raise exception 'the request of an export is no object, or has more than 2 MB'
            using errcode = 'invalid_parameter_value';
    end if;
    if new_units_total is null or new_units_total < 0 or length(new_idempotency_key) > 255 then
        raise exception 'the amount of work of an export is negative, or its idempotency key has more than 255 characters'
            using errcode = 'invalid_parameter_value';
    end if;
    perform check_resolved_request(new_resolved);
    -- serializes requests with the same key, and requests that count what the workspace has in progress
    perform pg_advisory_xact_lock(hashtext('mailmart.exports'), hashtext(workspace));
    -- the id matches if a request is retried because its connection died
    select * into export from exports
    where workspace_id = workspace and (idempotency_key = new_idempotency_key or export_id = new_export_id);
    if found then
        return export;
    end if;
    select least(-count(*), min(priority)) into new_priority
    from exports
    where workspace_id = workspace and status = 'processing';
    own_seconds := estimate_export_seconds(new_type, new_format, new_units_total);
    select coalesce(sum(estimated_seconds), 0) / greatest(count_live_workers(), 1) into queued_seconds
    from exports
    where status = 'processing' and priority >= new_priority;
    insert into exports (
        export_id, workspace_id, export_type, format, request, resolved, idempotency_key, units_total, priority,
        estimated_seconds, estimated_completion
    )
    values (
        new_export_id, workspace, new_type, new_format, new_request, new_resolved, new_idempotency_key, new_units_total,
        new_priority, own_seconds, clock_timestamp() + make_interval(secs => queued_seconds + own_seconds)
    );
    update exports
    set job_id = enqueue('exports', 'export', jsonb_build_object('export_id', new_export_id), new_priority)
    where export_id = new_export_id
    returning * into export;
    return export;
end
$$;

-- A scheduler reads the reports of all tenants: a row that it cannot read (a time that is infinity, or after the year 9999) would
-- stop the reports of everybody. Not valid: rows that are there are left alone.
alter table app.reports
add constraint reports_request_check check (jsonb_typeof(request) = 'object') not valid,
add constraint reports_next_run_at_check
check (next_run_at between '2000-01-01 00:00+00' and '9999-01-01 00:00+00') not valid,
add constraint reports_updated_at_check
check (updated_at between '2000-01-01 00:00+00' and '9999-01-01 00:00+00') not valid,
add constraint reports_webhook_disabled_at_check
check (webhook_disabled_at between '2000-01-01 00:00+00' and '9999-01-01 00:00+00') not valid;

-- 2. API keys: the API asks for the one key whose secret a client has sent.

create unique index api_keys_by_hash on app.api_keys (key_hash);

-- The valid key with this SHA-256; no row if there is none, or it is expired or revoked.
create function app.find_api_key(hash_of_key bytea)
returns table (workspace_id text, scopes text[], expires_at timestamptz)
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        api_keys.workspace_id,
        api_keys.scopes,
        api_keys.expires_at
    from app.api_keys
    where
        api_keys.key_hash = hash_of_key
        and api_keys.revoked_at is null
        and (api_keys.expires_at is null or api_keys.expires_at > clock_timestamp());
end;

-- Notes that a key was used, at most once in 30 seconds. Who does not have the key cannot name it.
create function app.note_api_key_use(hash_of_key bytea)
returns void
language sql volatile security definer
set search_path = app, pg_temp
begin atomic
    update app.api_keys
    set last_used_at = clock_timestamp()
    where
        api_keys.key_hash = hash_of_key
        and api_keys.revoked_at is null
        and (api_keys.last_used_at is null or api_keys.last_used_at < clock_timestamp() - interval '30 seconds');
end;

-- 3. Download links: the secret that signs them is the owner's alone. It is kept as the two padded keys of HMAC (RFC 2104), like
-- app.recipient_hash_key. Links that were signed before stay valid.
alter table app.signing_secret add column inner_key bytea;
alter table app.signing_secret add column outer_key bytea;

update app.signing_secret
set
    inner_key = padded_keys.inner_key,
    outer_key = padded_keys.outer_key
from (
    select
        string_agg(
            set_byte('\x00'::bytea, 0, get_byte(secrets.padded, places.place) # 54), ''::bytea order by places.place
        ) as inner_key,
        string_agg(
            set_byte('\x00'::bytea, 0, get_byte(secrets.padded, places.place) # 92), ''::bytea order by places.place
        ) as outer_key
    from (
        -- a key that is longer than a block of sha256 is hashed first
        select
            case when length(secret) > 64 then sha256(secret) else secret end
            || decode(
                repeat('00', 64 - length(case when length(secret) > 64 then sha256(secret) else secret end)), 'hex'
            ) as padded
        from app.signing_secret
    ) as secrets
    cross join generate_series(0, 63) as places (place)
) as padded_keys;

alter table app.signing_secret
alter column inner_key set not null,
alter column outer_key set not null,
drop column secret;

-- The signature (hexadecimal HMAC-SHA256) of a storage key until a time in Unix seconds. The parts cannot contain a line feed, so
-- different parts never make the same text.
create function app.link_signature(of_storage_key text, until bigint)
returns text
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        encode(
            sha256(
                keys.outer_key
                || sha256(keys.inner_key || convert_to(concat_ws(e'\n', 'mailmart export', until, of_storage_key), 'UTF8'))
            ),
            'hex'
        )
    from app.signing_secret as keys
    where of_storage_key !~ '\n';
end;

-- A link to the file of a completed export of the transaction's workspace, valid for so many seconds and not longer than the
-- file. No row if there is no such file.
create function app.sign_export_link(of_export_id text, seconds integer)
returns table (link_expires_at timestamptz, link_signature text)
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        links.expires_at,
        app.link_signature(links.storage_key, extract(epoch from links.expires_at)::bigint)
    from (
        select
            exports.storage_key,
            date_trunc(
                'second', least(clock_timestamp() + make_interval(secs => least(seconds, 86400)), exports.file_expires_at)
            ) as expires_at
        from app.exports
        where
            exports.export_id = of_export_id
            and exports.workspace_id = nullif(current_setting('mailmart.workspace_id', true), '')
            and exports.status = 'completed'
            and exports.removed_at is null
            and exports.storage_key is not null
    ) as links
    where links.expires_at > clock_timestamp();
end;

-- The file of a link, if the signature is right and the link has not expired; otherwise no row. The columns are null if the file
-- is no longer there. Signatures are compared by their hashes, so that the time of the comparison tells nothing.
drop function app.find_export_file(text);
create function app.find_export_file(wanted_export_id text, wanted_storage_key text, until bigint, signature text)
returns table (
    workspace_id text,
    storage_key text,
    export_type text,
    format text,
    file_size_bytes bigint,
    sha256 text,
    file_expires_at timestamptz
)
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        exports.workspace_id,
        exports.storage_key,
        exports.export_type,
        exports.format,
        exports.file_size_bytes,
        exports.sha256,
        exports.file_expires_at
    from (
        select
            sha256(convert_to(signature, 'UTF8')) = sha256(convert_to(app.link_signature(wanted_storage_key, until), 'UTF8'))
            and until > extract(epoch from clock_timestamp()) as is_valid
    ) as links
    left join app.exports
        on
            exports.export_id = wanted_export_id
            and exports.storage_key = wanted_storage_key
            and exports.status = 'completed'
            and exports.removed_at is null
            and exports.file_expires_at > clock_timestamp()
    where links.is_valid;
end;

-- 4. Metrics without tenants, so that the process of the metrics needs the API's role only.

create function app.export_metrics()
returns table (status text, exports bigint, oldest_seconds double precision)
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        exports.status,
        count(*),
        extract(epoch from clock_timestamp() - min(exports.created_at))::double precision
    from app.exports
    group by exports.status;
end;

create function app.delivery_metrics()
returns table (channel text, status text, deliveries bigint)
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        report_deliveries.channel,
        report_deliveries.status,
        count(*)
    from app.report_deliveries
    group by report_deliveries.channel, report_deliveries.status;
end;

-- Jobs in each queue, and the seconds that the oldest waiting one has waited. PL/pgSQL: see migration 0017.
create function app.count_jobs()
returns table (queue text, waiting bigint, running bigint, oldest_seconds double precision)
language plpgsql stable security definer
set search_path = procrastinate, pg_temp
as $$
begin
    return query
    with jobs as (
        select
            procrastinate_jobs.queue_name::text as queue_name,
            procrastinate_jobs.status = 'todo' as is_waiting,
            -- a retried job waits from its scheduled time
            coalesce(
                procrastinate_jobs.scheduled_at,
                (
                    select min(events.at) from procrastinate_events as events
                    where events.job_id = procrastinate_jobs.id
                )
            ) as waiting_since
        from procrastinate_jobs
        where procrastinate_jobs.status in ('todo', 'doing')
    )

    select
        jobs.queue_name,
        count(*) filter (where jobs.is_waiting),
        count(*) filter (where not jobs.is_waiting),
        coalesce(
            extract(
                epoch from clock_timestamp() - min(jobs.waiting_since) filter (where jobs.is_waiting and jobs.waiting_since <= now())
            ),
            0
        )::double precision
    from jobs
    group by jobs.queue_name;
end
$$;

-- 5. Analysts of one workspace. The login decides, not a setting: session_user changes with neither SET ROLE nor SET.

create table app.workspace_analysts (
    login text primary key,
    workspace_id text not null check (workspace_id <> '')
);

comment on table app.workspace_analysts is
'One row per login that sees one workspace: a member of mailmart_workspace_analyst. Without a row, such a login sees nothing.';

create function app.analyst_workspace_id()
returns text
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select workspace_analysts.workspace_id from app.workspace_analysts
    where workspace_analysts.login = session_user;
end;

-- Tables and views that analysts can read already, of production and of developers: the same for analysts of one workspace. New
-- ones: macros/security/row_level_security.sql and the grants in dbt_project.yml.
do $$
declare
    object record;
begin
    for object in
        select
            relations.oid::regclass as relation,
            exists (
                select from pg_policy
                where polrelid = relations.oid and polname = 'tenant_isolation'
            ) as has_workspace
        from pg_class as relations
        inner join pg_namespace as schemas on relations.relnamespace = schemas.oid
        where
            relations.relkind in ('r', 'p', 'v')
            and schemas.nspname ~ '(^|_)(core|marts|marts_served)$'
            and pg_has_role(relations.relowner, 'usage')
            and has_table_privilege('mailmart_analyst', relations.oid, 'select')
    loop
        execute format('grant select on %s to mailmart_workspace_analyst', object.relation);
        if object.has_workspace then
            execute format(
                'create policy analyst_workspace on %s for select to mailmart_workspace_analyst'
                || ' using (workspace_id = (select app.analyst_workspace_id()))',
                object.relation
            );
        end if;
    end loop;
    for object in
        select nspname as name from pg_namespace
        where
            nspname ~ '(^|_)(core|marts|marts_served)$'
            and pg_has_role(nspowner, 'usage')
            and has_schema_privilege('mailmart_analyst', oid, 'usage')
    loop
        execute format('grant usage on schema %I to mailmart_workspace_analyst', object.name);
    end loop;
end
$$;

-- 6. The privileges on schema app: all of them, so what is not here is not granted.

revoke all on schema app from public;
revoke all on all tables in schema app from public, mailmart_api, mailmart_worker, mailmart_analyst;
revoke all on all functions in schema app from public, mailmart_api, mailmart_worker, mailmart_analyst;
-- functions that the owner creates from now on are nobody else's
alter default privileges revoke execute on functions from public;

grant usage on schema app to mailmart_api, mailmart_worker, mailmart_analyst, mailmart_workspace_analyst;

-- what is served, and how builds went; why one failed can contain tenants' data, so it is the worker's alone
grant select (target, batch_id, changed_at) on app.current_publication to mailmart_api, mailmart_worker;
grant select (target, batch_id, data_as_of, published_at, withdrawn_at) on app.publications
to mailmart_api, mailmart_worker, mailmart_analyst, mailmart_workspace_analyst;
grant select (contract) on app.publications to mailmart_api, mailmart_worker;
grant select (target, batch_id, status, started_at, ended_at) on app.batches
to mailmart_api, mailmart_worker, mailmart_analyst, mailmart_workspace_analyst;
grant select (invocation_id, continues, failure_summary) on app.batches to mailmart_worker;
grant select (target, batch_id, model, rows_inserted, rows_expired) on app.model_runs to mailmart_worker;
grant select, insert, update on app.nightly_runs to mailmart_worker;
grant select (target, is_manual, status, attempts, started_at, ended_at) on app.nightly_runs to mailmart_api;
grant select (installation_id) on app.installation to mailmart_api, mailmart_worker;

-- exports: the API reads its workspace's, the worker writes what an attempt changes, and never whose they are or what they show
grant select (
    export_id, workspace_id, export_type, format, request, resolved, units_total, status, attempts, units_written, row_count,
    file_size_bytes, sha256, storage_key, data_as_of, error, estimated_completion, created_at, completed_at, file_expires_at
) on app.exports to mailmart_api;
grant select, delete on app.exports to mailmart_worker;
grant update (
    status, attempts, attempt_token, units_written, row_count, file_size_bytes, sha256, storage_key, data_as_of, error, job_id,
    started_at, completed_at, file_expires_at
) on app.exports to mailmart_worker;

-- reports: the API writes a secret, and never reads one
grant select (
    report_id, workspace_id, name, request, frequency, run_at, timezone, weekday, day_of_month, recipients, webhook_url,
    webhook_failures, webhook_disabled_at, is_enabled, next_run_at, created_at, updated_at
) on app.reports to mailmart_api;
grant insert (
    report_id, workspace_id, name, request, frequency, run_at, timezone, weekday, day_of_month, recipients, webhook_url,
    webhook_secret, is_enabled, next_run_at
) on app.reports to mailmart_api;
grant update (
    name, request, frequency, run_at, timezone, weekday, day_of_month, recipients, webhook_url, webhook_secret,
    webhook_failures, webhook_disabled_at, is_enabled, next_run_at, updated_at
) on app.reports to mailmart_api;
grant delete on app.reports to mailmart_api;
grant select on app.reports to mailmart_worker;
grant update (next_run_at, failing_since, webhook_failures, webhook_disabled_at) on app.reports to mailmart_worker;
grant select on app.report_runs, app.report_deliveries to mailmart_api;
grant select, insert, update, delete on app.report_runs, app.report_deliveries to mailmart_worker;

grant execute on function app.find_api_key(bytea) to mailmart_api;
grant execute on function app.note_api_key_use(bytea) to mailmart_api;
grant execute on function app.request_export(text, text, text, jsonb, jsonb, bigint, text) to mailmart_api, mailmart_worker;
grant execute on function app.cancel_or_remove_export(text, text) to mailmart_api;
grant execute on function app.sign_export_link(text, integer) to mailmart_api, mailmart_worker;
grant execute on function app.find_export_file(text, text, bigint, text) to mailmart_api;
grant execute on function app.export_metrics() to mailmart_api;
grant execute on function app.delivery_metrics() to mailmart_api;
grant execute on function app.count_jobs() to mailmart_api;
grant execute on function app.count_live_workers() to mailmart_api;
grant execute on function app.link_signature(text, bigint) to mailmart_worker;
grant execute on function app.enqueue(text, text, jsonb, integer, timestamptz) to mailmart_worker;
grant execute on function app.job_exists(bigint) to mailmart_worker;
grant execute on function app.defer_delivery(text, text, text, double precision) to mailmart_worker;
grant execute on function app.analyst_workspace_id() to mailmart_workspace_analyst;

reset role;
