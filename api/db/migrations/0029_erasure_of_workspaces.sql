-- depends: 0025_bounded_bodies
set local role mailmart_owner;

-- Erasure: `mailmart erase` (api/erasure) calls the functions of this migration and of the next one, as the owner. Nobody else may.

create table app.erasures (
    erasure_id bigint generated always as identity primary key,
    kind text not null check (kind in ('workspace', 'recipient')),
    workspace_id text,
    requested_by text not null default session_user,
    erased_at timestamptz not null default clock_timestamp(),
    completed_at timestamptz,
    row_counts jsonb not null default '{}',
    export_ids text[] not null default '{}'
);

comment on table app.erasures is 'One row per erasure that changed something. It has nothing of the erased recipient.';
comment on column app.erasures.workspace_id is
'The erased workspace; of a recipient, the workspace that the erasure was limited to, or null for all.';
comment on column app.erasures.requested_by is 'The login of the database.';
comment on column app.erasures.completed_at is 'When the files were deleted; null if that is still to be done. The next erasure does it.';
comment on column app.erasures.row_counts is 'Table → number of rows that were deleted or changed.';
comment on column app.erasures.export_ids is 'The exports whose files are still to be deleted; empty when the erasure is complete.';

create table app.erased_workspaces (
    workspace_id text primary key,
    erased_at timestamptz not null default clock_timestamp()
);

comment on table app.erased_workspaces is 'One row per erased workspace. What is loaded for it is refused and counted.';

-- Responses that were made before an erasure are in caches, under ETags of the same batch.
alter table app.current_publication add column revision bigint not null default 0;
comment on column app.current_publication.revision is 'Counts the erasures. It is a part of each ETag.';
grant select (revision) on app.current_publication to mailmart_api, mailmart_worker;

-- Refuses a row of an erased workspace. The row is counted in raw.rejected_payloads, and nothing of it is kept. A row of a table of
-- the app, which replication sends again and again, is counted once.
-- tg_argv[0]: the column with the row's own id; '' if each row is counted.
create function app.refuse_erased_workspace()
returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    fields jsonb;
begin
    if tg_table_name = 'rejected_payloads' then
        new.problem := 'workspace_erased';
        new.reason := 'the workspace was erased';
        new.source := null;
        new.line := null;
        new.body := null;
        new.body_md5 := md5(gen_random_uuid()::text);
        return new;
    end if;
    if tg_argv[0] <> '' then
        fields := to_jsonb(new);
    end if;
    insert into raw.rejected_payloads (provider, workspace_id, problem, reason, body_md5)
    values (
        case tg_table_name
            when 'email_events' then 'native'
            when 'webhook_payloads' then to_jsonb(new) ->> 'provider'
            else 'app.' || tg_table_name
        end,
        new.workspace_id,
        'workspace_erased',
        'the workspace was erased',
        md5(coalesce(tg_table_name || ' ' || (fields ->> tg_argv[0]), gen_random_uuid()::text))
    )
    on conflict do nothing;
    return null;
end
$$;

-- Creates the trigger on each table of raw that has workspaces, or drops it if no workspace is erased. The workspaces are literals of
-- its condition: no function is called for a row of another one. CREATE TRIGGER waits for transactions that are loading.
create function app.refuse_erased_workspaces()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    workspaces constant text[] := (select array_agg(workspace_id order by workspace_id) from app.erased_workspaces);
    raw_table record;
begin
    for raw_table in
        select
            pg_class.oid::regclass as relation,
            pg_class.relname = 'rejected_payloads' as is_rejected,
            case
                when exists (
                    select from pg_attribute as xid
                    where xid.attrelid = pg_class.oid and xid.attname = 'loaded_xid'
                ) then ''
                else (
                    select attname from pg_attribute as first_column
                    where first_column.attrelid = pg_class.oid and first_column.attnum = 1
                )
            end as id_column
        from pg_class
        inner join pg_attribute on pg_class.oid = pg_attribute.attrelid
        where
            pg_class.relnamespace = 'raw'::regnamespace
            and pg_class.relkind in ('r', 'p')
            and pg_attribute.attname = 'workspace_id'
            and not pg_attribute.attisdropped
            and pg_has_role(pg_class.relowner, 'usage')
    loop
        if workspaces is null then
            execute format('drop trigger if exists refuse_erased_workspace on %s', raw_table.relation);
            continue;
        end if;
        execute format(
            'create or replace trigger refuse_erased_workspace before insert on %s for each row'
            || ' when (new.workspace_id = any(%L::text[])%s) execute function app.refuse_erased_workspace(%L)',
            raw_table.relation,
            workspaces,
            case when raw_table.is_rejected then ' and new.problem <> ''workspace_erased''' else '' end,
            raw_table.id_column
        );
        -- logical replication fires no other triggers
        execute format('alter table %s enable always trigger refuse_erased_workspace', raw_table.relation);
    end loop;
end
$$;

-- Loads mail of an erased workspace again, from now on.
create function app.allow_erased_workspace(allowed_workspace_id text)
returns void
language plpgsql
set search_path = app, pg_temp
as $$
begin
    delete from erased_workspaces where workspace_id = allowed_workspace_id;
    perform refuse_erased_workspaces();
end
$$;

-- Keeps builds out until the transaction ends. A build that is running stops between two models: each begins with hold_batch(), which
-- waits for this lock.
create function app.block_builds()
returns void
language plpgsql
set search_path = app, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(hashtext('mailmart.batches'), hashtext(warehouses.target))
    from (select distinct target from batches order by target) as warehouses;
    perform from batches
    where status = 'running'
    order by batch_id
    for update;
end
$$;

-- Deletes the jobs with one of these arguments, or counts them. A job that is running deletes itself when it ends; until then the address
-- of a report's recipient is not in it any more. PL/pgSQL: see migration 0017.
create function app.erase_jobs(of_args jsonb[], is_counting boolean)
returns bigint
language plpgsql
set search_path = procrastinate, pg_temp
as $$
declare
    jobs bigint;
begin
    if to_regclass('procrastinate_jobs') is null then
        return 0;
    end if;
    select count(*) into jobs from procrastinate_jobs
    where args @> any(of_args);
    if not is_counting then
        delete from procrastinate_jobs
        where args @> any(of_args) and status <> 'doing';
        update procrastinate_jobs
        set args = args || '{"target": "erased"}'
        where args @> any(of_args) and args ? 'target';
    end if;
    return jobs;
end
$$;

-- Every table with rows of a workspace, and the condition of these rows: $1 is the workspace, $2 its id in core (macro as_id). In the
-- order in which they are deleted. Rows that count what was refused stay.
create function app.tables_of_workspaces()
returns table (relation regclass, condition text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with relations as (
        select
            pg_class.oid::regclass as relation,
            pg_namespace.nspname as schema_name,
            pg_class.relname as name
        from pg_class
        inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
        inner join pg_attribute on pg_class.oid = pg_attribute.attrelid
        where
            (pg_namespace.nspname in ('app', 'raw') or pg_namespace.nspname ~ '(^|_)core$')
            and pg_class.relkind in ('r', 'p')
            and not pg_class.relispartition
            and pg_attribute.attname = 'workspace_id'
            and not pg_attribute.attisdropped
            and pg_has_role(pg_class.relowner, 'usage')
            and pg_class.oid not in ('app.erasures'::regclass, 'app.erased_workspaces'::regclass)
    ),

    conditions as (
        select
            relations.relation,
            case
                when relations.name = 'rejected_payloads' then 'workspace_id = $1 and problem <> ''workspace_erased'''
                when relations.name = 'fct_rejected_events' then 'workspace_id = $2 and problem <> ''workspace_erased'''
                when relations.schema_name = 'app' then 'workspace_id in ($1, $2)'
                when relations.schema_name = 'raw' then 'workspace_id = $1'
                else 'workspace_id = $2'
            end as condition,
            -- a table before those that it refers to
            case relations.relation
                when 'app.report_deliveries'::regclass then 1
                when 'app.report_runs'::regclass then 2
                else 3
            end as position
        from relations
        union all
        select
            'raw.domain_ip_assignments'::regclass,
            'domain_id in (select domain_id from raw.domains where workspace_id = $1)',
            1
    )

    select
        conditions.relation,
        conditions.condition
    from conditions
    order by conditions.position, conditions.relation::text
$$;

-- Deletes everything of a workspace, or counts it.
create function app.erase_workspace(erased_workspace_id text, is_counting boolean)
returns table (relation text, row_count bigint)
language plpgsql
set search_path = app, pg_temp
as $$
declare
    id_in_core constant text :=
        case when octet_length(erased_workspace_id) > 400 then md5(erased_workspace_id) else erased_workspace_id end;
    entry record;
begin
    relation := 'procrastinate jobs';
    row_count := erase_jobs(
        array(
            select jsonb_build_object('export_id', exports.export_id) from exports
            where exports.workspace_id = erased_workspace_id
            union all
            select jsonb_build_object('run_id', report_runs.run_id) from report_runs
            where report_runs.workspace_id = erased_workspace_id
        ),
        is_counting
    );
    return next;
    for entry in select tables.relation as name, tables.condition from tables_of_workspaces() as tables loop
        if is_counting then
            execute format('select count(*) from %s where %s', entry.name, entry.condition)
            into row_count using erased_workspace_id, id_in_core;
        else
            execute format('delete from %s where %s', entry.name, entry.condition) using erased_workspace_id, id_in_core;
            get diagnostics row_count = row_count;
        end if;
        relation := entry.name::text;
        return next;
    end loop;
end
$$;

-- What failed builds said can quote rows of any workspace.
create function app.erase_failures()
returns table (relation text, row_count bigint)
language plpgsql
set search_path = app, pg_temp
as $$
begin
    update batches set failure_summary = 'removed by an erasure'
    where failure_summary is not null and status <> 'running' and failure_summary <> 'removed by an erasure';
    get diagnostics row_count = row_count;
    relation := 'app.batches';
    return next;
    update nightly_runs set error = 'removed by an erasure'
    where error is not null and error <> 'removed by an erasure';
    get diagnostics row_count = row_count;
    relation := 'app.nightly_runs';
    return next;
end
$$;

revoke execute on function app.refuse_erased_workspace() from public;
revoke execute on function app.refuse_erased_workspaces() from public;
revoke execute on function app.allow_erased_workspace(text) from public;
revoke execute on function app.block_builds() from public;
revoke execute on function app.erase_jobs(jsonb[], boolean) from public;
revoke execute on function app.tables_of_workspaces() from public;
revoke execute on function app.erase_workspace(text, boolean) from public;
revoke execute on function app.erase_failures() from public;

reset role;
