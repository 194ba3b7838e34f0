-- depends: 0007_books_for_analysts
set local role mailmart_owner;

-- One row an export. Its job in the queue is made in the same transaction (app.request_export).
create table app.exports (
    export_id text primary key,
    workspace_id text not null check (workspace_id <> ''),
    export_type text not null,
    format text not null,
    request jsonb not null,
    resolved jsonb not null,
    idempotency_key text,
    size bigint not null,
    priority integer not null,
    job_id bigint,
    status text not null default 'processing'
    check (status in ('processing', 'completed', 'failed', 'expired', 'canceled')),
    attempts integer not null default 0,
    attempt_token text,
    done bigint not null default 0,
    row_count bigint,
    file_size_bytes bigint,
    sha256 text,
    storage_key text,
    data_as_of timestamptz,
    error text,
    estimated_seconds double precision,
    estimated_completion timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    completed_at timestamptz,
    file_expires_at timestamptz,
    removed_at timestamptz,
    unique (workspace_id, idempotency_key)
);

comment on column app.exports.request is 'The body that asked for it.';
comment on column app.exports.resolved is 'What the body came to when it was asked for: the window above all.';
comment on column app.exports.size is 'How much there is to write, in messages or campaigns, as the type counts it.';
comment on column app.exports.attempts is 'How often it was taken up, this time included; handed back is not.';
comment on column app.exports.attempt_token is 'The attempt that may write to this row; in its storage key as well.';
comment on column app.exports.done is 'How much of the size is written.';
comment on column app.exports.row_count is 'Rows of the file.';
comment on column app.exports.removed_at is 'Removed by its user: shown to nobody, and its file goes with the next clean-up.';

create index exports_by_workspace on app.exports (workspace_id, created_at desc, export_id desc);
create index exports_processing on app.exports (priority desc, created_at) where status = 'processing';
create index exports_measured on app.exports (export_type, format, completed_at desc) where status in ('completed', 'expired');
create index exports_with_files on app.exports (file_expires_at) where status = 'completed';

alter table app.exports enable row level security;
create policy one_workspace on app.exports for select to mailmart_api
using (
    workspace_id = (select nullif(current_setting('mailmart.workspace_id', true), ''))
    and removed_at is null
);
create policy every_workspace on app.exports to mailmart_worker using (true) with check (true);
grant select on app.exports to mailmart_api;
grant select, update, delete on app.exports to mailmart_worker;

-- Signs what this installation gives out: links to files.
create table app.signing_secret (
    is_only boolean primary key default true check (is_only),
    secret bytea not null
);

insert into app.signing_secret (secret)
select decode(replace(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');

grant select on app.signing_secret to mailmart_api, mailmart_worker;

-- Seconds that an export takes, by what earlier ones of its type and format took: a straight line through the last hundred of
-- them; with fewer sizes than a line needs, their mean. Null while there are none.
create function app.estimated_export_seconds(wanted_type text, wanted_format text, wanted_size bigint)
returns double precision
language sql stable
begin atomic
    with earlier as (
        select
            size,
            extract(epoch from completed_at - started_at)::double precision as seconds
        from app.exports
        where
            status in ('completed', 'expired')
            and export_type = wanted_type
            and format = wanted_format
        order by completed_at desc
        limit 100
    ),

    fitted as (
        select
            regr_intercept(seconds, size) + regr_slope(seconds, size) * wanted_size as on_the_line,
            avg(seconds) as mean,
            min(seconds) as least
        from earlier
    )

    select greatest(coalesce(on_the_line, mean), least) from fitted;
end;

-- Makes an export of the workspace that the transaction names, and its job; or finds the one with the same idempotency key,
-- whose request the caller compares. A workspace's later jobs wait behind others' earlier ones: the more it has waiting, the
-- lower the next one's priority.
create function app.request_export(
    new_export_id text,
    wanted_type text,
    wanted_format text,
    given_request jsonb,
    given_resolved jsonb,
    wanted_size bigint,
    given_key text
)
returns app.exports
language plpgsql security definer
set search_path = app, procrastinate, pg_temp
as $$
declare
    named text := nullif(current_setting('mailmart.workspace_id', true), '');
    made app.exports;
    seconds double precision;
    ahead double precision;
    waiting integer;
begin
    if named is null then
        raise exception 'no workspace is named: mailmart.workspace_id is not set';
    end if;
    -- two requests with one key come one after the other, and so do two that count what is waiting
    perform pg_advisory_xact_lock(hashtext('mailmart.exports'), hashtext(named));
    -- by its id: the one that asks again because its connection died
    select * into made from exports
    where workspace_id = named and (idempotency_key = given_key or export_id = new_export_id);
    if found then
        return made;
    end if;
    select count(*) into waiting from exports where workspace_id = named and status = 'processing';
    seconds := estimated_export_seconds(wanted_type, wanted_format, wanted_size);
    select
        coalesce(sum(estimated_seconds), 0)
        / greatest((select count(*) from procrastinate_workers where last_heartbeat > now() - interval '30 seconds'), 1)
    into ahead
    from exports
    where status = 'processing' and priority >= -waiting;
    insert into exports (
        export_id, workspace_id, export_type, format, request, resolved, idempotency_key, size, priority,
        estimated_seconds, estimated_completion
    )
    values (
        new_export_id, named, wanted_type, wanted_format, given_request, given_resolved, given_key, wanted_size, -waiting,
        seconds, clock_timestamp() + make_interval(secs => ahead + seconds)
    )
    returning * into made;
    update exports
    set job_id = (
        procrastinate_defer_jobs_v1(
            array[
                (
                    'exports', 'export', made.priority, null, null,
                    jsonb_build_object('export_id', made.export_id), null
                )::procrastinate_job_to_defer_v1
            ]
        )
    )[1]
    where export_id = made.export_id
    returning * into made;
    return made;
end
$$;

-- Ends an export of the workspace that the transaction names. One that is processing is canceled, and stays to be seen; any
-- other is removed with its file. Null where there is none.
create function app.cancel_or_remove_export(unwanted text)
returns text
language plpgsql security definer
set search_path = app, procrastinate, pg_temp
as $$
declare
    named text := nullif(current_setting('mailmart.workspace_id', true), '');
    was app.exports;
begin
    select * into was from exports
    where export_id = unwanted and workspace_id = named and removed_at is null
    for update;
    if not found then
        return null;
    end if;
    if was.status = 'processing' then
        update exports set status = 'canceled', completed_at = clock_timestamp() where export_id = unwanted;
        delete from procrastinate_jobs where id = was.job_id and status = 'todo';
        return 'canceled';
    end if;
    -- a key that was used for it may be used again
    update exports set removed_at = clock_timestamp(), idempotency_key = null where export_id = unwanted;
    return 'removed';
end
$$;

-- The file of an export, for whoever has a link to it; nothing once it is gone.
create function app.file_of_export(wanted text)
returns table (storage_key text, export_type text, format text, file_size_bytes bigint, sha256 text, file_expires_at timestamptz)
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        exports.storage_key,
        exports.export_type,
        exports.format,
        exports.file_size_bytes,
        exports.sha256,
        exports.file_expires_at
    from app.exports
    where exports.export_id = wanted and exports.status = 'completed' and exports.removed_at is null;
end;

revoke execute on function app.estimated_export_seconds(text, text, bigint) from public;
revoke execute on function app.request_export(text, text, text, jsonb, jsonb, bigint, text) from public;
revoke execute on function app.cancel_or_remove_export(text) from public;
revoke execute on function app.file_of_export(text) from public;
grant execute on function app.request_export(text, text, text, jsonb, jsonb, bigint, text) to mailmart_api, mailmart_worker;
grant execute on function app.cancel_or_remove_export(text) to mailmart_api;
grant execute on function app.file_of_export(text) to mailmart_api;

reset role;
