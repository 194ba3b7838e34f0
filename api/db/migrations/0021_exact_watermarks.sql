-- depends: 0018_downloads_by_workspace

-- Which rows of the raw logs a build reads. Each row carries the id of the transaction that inserted it, and each build the
-- snapshot of its beginning: a build reads the rows that are in its snapshot and not in the one of the build before. A time cannot
-- say that, because transactions do not commit in the order of their times, and loaders can set loaded_at.
set local role mailmart_owner;

-- The identifier of this database system. Another system counts transactions anew. 0 if a managed PostgreSQL hides it.
create function app.system_identifier()
returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select control.system_identifier from pg_control_system() as control);
exception
    when insufficient_privilege then return 0;
end
$$;

-- The id is always the inserting transaction's, even if a COPY names the column, for example of rows that were archived.
create function app.set_loaded_xid()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.loaded_xid := pg_current_xact_id();
    return new;
end
$$;

-- Makes a table a raw log that builds can read incrementally: adds loaded_xid, its index and the trigger that guards it. Rows that
-- are there already get 0, which changes only the catalog; so they are in every snapshot, and new to the first build.
create function app.track_loading(raw_log regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    log_name constant text := (select relname from pg_class where oid = raw_log);
begin
    execute format('alter table %s add column if not exists loaded_xid xid8 not null default ''0''', raw_log);
    execute format('alter table %s alter column loaded_xid set default pg_current_xact_id()', raw_log);
    execute format(
        'comment on column %s.loaded_xid is ''Id of the transaction that inserted the row. Set by PostgreSQL; builds find new rows by it.''',
        raw_log
    );
    execute format('create index if not exists %I on %s (loaded_xid)', log_name || '_loaded_xid', raw_log);
    execute format(
        'create or replace trigger set_loaded_xid before insert on %s for each row'
        || ' when (new.loaded_xid is distinct from pg_current_xact_id()) execute function app.set_loaded_xid()',
        raw_log
    );
    -- logical replication fires no other triggers
    execute format('alter table %s enable always trigger set_loaded_xid', raw_log);
end
$$;

do $$
declare
    raw_log regclass;
begin
    for raw_log in
        select pg_class.oid
        from pg_class
        inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
        where
            pg_namespace.nspname = 'raw'
            and pg_class.relkind in ('r', 'p')
            and (pg_class.relname in ('email_events', 'webhook_payloads') or pg_class.relname like 'rejected\_%')
    loop
        perform app.track_loading(raw_log);
    end loop;
end
$$;

alter table app.batches add column raw_snapshot pg_snapshot;
alter table app.batches add column system_identifier bigint;
alter table app.batches add column complete_until timestamptz;
alter table app.model_runs add column raw_batch_id bigint references app.batches;
alter table app.model_runs drop column loaded_until;

comment on column app.batches.raw_snapshot is
'The state of the raw logs that the build reads: the rows of the transactions that are visible in this snapshot.';
comment on column app.batches.system_identifier is 'The database system that counted the snapshot''s transactions.';
comment on column app.batches.complete_until is
'The state has all events loaded up to this time: the build''s start, or that of a transaction that was still loading then.';
comment on column app.model_runs.raw_batch_id is
'The batch whose raw_snapshot the run has read up to; null if the model reads no raw log.';

-- The raw logs that builds read incrementally.
create function app.raw_logs()
returns setof regclass
language sql stable
begin atomic
    select pg_class.oid::regclass
    from pg_catalog.pg_class
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    inner join pg_catalog.pg_attribute on pg_class.oid = pg_attribute.attrelid
    where
        pg_namespace.nspname = 'raw'
        and pg_class.relkind in ('r', 'p')
        and pg_attribute.attname = 'loaded_xid'
        and not pg_attribute.attisdropped
    order by pg_class.relname;
end;

-- The transactions that have written to one of these tables and have not ended, prepared ones included, and when each began; null
-- if the login may not see that. The role is reset for the look, because pg_stat_activity shows a login its own sessions only.
create function app.open_writers(tables regclass[])
returns table (virtual_transaction text, started_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
set role = 'none'
as $$
begin
    perform pg_stat_clear_snapshot();
    return query
    select
        locks.virtualtransaction,
        min(activity.xact_start)
    from pg_locks as locks
    inner join pg_database as databases on locks.database = databases.oid and databases.datname = current_database()
    left join pg_stat_activity as activity on locks.pid = activity.pid
    where
        locks.locktype = 'relation'
        and locks.relation = any(tables)
        and locks.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        and locks.granted
        and locks.pid is distinct from pg_backend_pid()
    group by locks.virtualtransaction;
end
$$;

-- The time up to which a snapshot that is taken after this call has all events loaded by then: `moment`, or the start of the oldest
-- transaction that is loading. If the start is hidden, waits for the transaction for five seconds; if it is still open then, the
-- time is `otherwise`, or the server's start.
create function app.loaded_completely_until(moment timestamptz, otherwise timestamptz)
returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    tables constant regclass[] := array(select app.raw_logs());
    hidden text[];
    earliest timestamptz;
begin
    select
        array_agg(writers.virtual_transaction) filter (where writers.started_at is null),
        min(writers.started_at)
    into hidden, earliest
    from app.open_writers(tables) as writers;
    if hidden is not null then
        for attempt in 1..50 loop
            perform pg_sleep(0.1);
            select array_agg(writers.virtual_transaction) into hidden
            from app.open_writers(tables) as writers
            where writers.virtual_transaction = any(hidden);
            exit when hidden is null;
        end loop;
        if hidden is not null then
            earliest := least(earliest, coalesce(otherwise, pg_postmaster_start_time()));
        end if;
    end if;
    -- least() ignores null
    return least(moment, earliest);
end
$$;

-- Gives rows of another database system, which pg_restore has brought here, an id of this one. A row that can be seen and whose id
-- is not assigned yet is such a row: it would be in no snapshot until this system has counted that far.
create function app.adopt_restored_rows()
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    raw_log regclass;
    adopted bigint;
    total bigint := 0;
begin
    for raw_log in select raw_logs() loop
        execute format(
            'update %s set loaded_xid = pg_current_xact_id() where loaded_xid >= $1', raw_log
        ) using pg_snapshot_xmax(pg_current_snapshot());
        get diagnostics adopted = row_count;
        total := total + adopted;
    end loop;
    return total;
end
$$;

-- Records which rows of the raw logs a build reads, and returns the build's number. To be called after adopt_restored_rows(), in
-- another transaction.
create function app.record_raw_state(for_batch_id bigint)
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    this_system constant bigint := system_identifier();
    earlier timestamptz;
    complete timestamptz;
begin
    select max(batches.complete_until) into earlier from batches
    where batches.system_identifier = this_system and batches.batch_id < for_batch_id;
    select loaded_completely_until(batches.started_at, earlier) into complete from batches
    where batches.batch_id = for_batch_id;
    update batches
    set
        raw_snapshot = pg_current_snapshot(),
        system_identifier = this_system,
        -- what an earlier snapshot has, this one has, too
        complete_until = greatest(complete, earlier)
    where batch_id = for_batch_id;
    return for_batch_id;
end
$$;

-- The batch up to whose raw_snapshot a model reads in this build. fct_email_events reads the build's own. Any other model reads
-- what fct_email_events has read: in a retry that may be the state of an earlier build.
create function app.raw_batch_of(warehouse text, model_name text, running_batch_id bigint)
returns bigint
language sql stable
begin atomic
    with running as (
        select
            batches.batch_id,
            batches.system_identifier
        from app.batches
        where batches.batch_id = running_batch_id
    ),

    events as (
        select runs.raw_batch_id
        from app.model_runs as runs
        where runs.target = warehouse and runs.model = 'fct_email_events'
        order by runs.batch_id desc
        limit 1
    ),

    states as (
        select
            batches.batch_id,
            batches.system_identifier
        from events
        inner join app.batches on events.raw_batch_id = batches.batch_id
    )

    select case when model_name = 'fct_email_events' then running.batch_id else coalesce(states.batch_id, running.batch_id) end
    from running
    left join states on running.system_identifier = states.system_identifier;
end;

-- The states of the raw logs between which a model reads in this build: rows that are in `until` and not in `since`. `since` is
-- null if the model has read nothing in this database system: then it reads everything.
create function app.raw_states_of_run(warehouse text, model_name text, running_batch_id bigint)
returns table (since pg_snapshot, until pg_snapshot)
language sql stable
begin atomic
    with latest as (
        select runs.raw_batch_id
        from app.model_runs as runs
        where runs.target = warehouse and runs.model = model_name
        order by runs.batch_id desc
        limit 1
    ),

    since as (
        select batches.raw_snapshot
        from latest
        inner join app.batches on latest.raw_batch_id = batches.batch_id
        where batches.system_identifier = app.system_identifier()
    ),

    until as (
        select batches.raw_snapshot
        from app.batches
        where batches.batch_id = app.raw_batch_of(warehouse, model_name, running_batch_id)
    )

    select
        (select since.raw_snapshot from since) as since,
        (select until.raw_snapshot from until) as until;
end;

-- Analyzes a table whose statistics are of another size: it was empty or small when it was analyzed, or never was. The next
-- statement is planned before autovacuum would come. Waits three seconds for a lock: autovacuum gives way after one, and if a VACUUM
-- of an administrator does not, the build goes on.
create function app.analyze_if_changed(relation regclass)
returns boolean
language plpgsql
set search_path = app, pg_temp
set lock_timeout = '3s'
as $$
declare
    pages constant bigint := pg_relation_size(relation) / current_setting('block_size')::bigint;
    analyzed record;
begin
    select
        pg_class.relpages,
        pg_class.reltuples
    into analyzed from pg_class
    where pg_class.oid = relation;
    if analyzed.reltuples >= 0 and abs(pages - analyzed.relpages) <= 8 + analyzed.relpages / 10 then
        return false;
    end if;
    execute format('analyze %s', relation);
    return true;
exception
    when lock_not_available then return false;
end
$$;

-- Makes a build the one that is served.
-- complete_since_batch_id: the earliest build that its rows are of; the data are as of what that one has read.
-- contract: what the API may show; stored, so that a manifest that is newer than the database breaks nothing.
create or replace function app.publish_batch(published_batch_id bigint, complete_since_batch_id bigint, contract json)
returns void
language plpgsql
set search_path = app, pg_temp
as $$
declare
    published batches;
begin
    select * into strict published from batches
    where batch_id = published_batch_id;
    insert into publications (target, batch_id, data_as_of, contract)
    select
        published.target,
        published.batch_id,
        coalesce(batches.complete_until, batches.started_at),
        publish_batch.contract
    from batches
    where batches.batch_id = complete_since_batch_id;
    insert into current_publication (target, batch_id)
    values (published.target, published.batch_id)
    on conflict (target) do update set batch_id = excluded.batch_id, changed_at = clock_timestamp();
    delete from batch_nodes
    where batch_id in (select batches.batch_id from batches where batches.target = published.target);
end
$$;

revoke execute on function app.system_identifier() from public;
revoke execute on function app.set_loaded_xid() from public;
revoke execute on function app.track_loading(regclass) from public;
revoke execute on function app.raw_logs() from public;
revoke execute on function app.open_writers(regclass[]) from public;
revoke execute on function app.loaded_completely_until(timestamptz, timestamptz) from public;
revoke execute on function app.adopt_restored_rows() from public;
revoke execute on function app.record_raw_state(bigint) from public;
revoke execute on function app.raw_batch_of(text, text, bigint) from public;
revoke execute on function app.raw_states_of_run(text, text, bigint) from public;
revoke execute on function app.analyze_if_changed(regclass) from public;

reset role;
