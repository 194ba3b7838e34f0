-- depends: 0021_exact_watermarks

set local role mailmart_owner;

-- Who is in the way of a build or of a migration, and how DDL waits without blocking readers.

-- The other sessions of this database that hold locks on tables or views of these schemas. pg_stat_activity shows when a
-- transaction began only to the session's own login and to members of pg_read_all_stats, so the role is reset for the look.
create function app.lock_holders(schemas text[])
returns table (
    pid int,
    login text,
    application text,
    state text,
    relations text[],
    transaction_started_at timestamptz,
    query_started_at timestamptz,
    is_blocking boolean
)
language sql
set search_path = pg_catalog, pg_temp
set role = 'none'
begin atomic
    with holders as (
        select
            locks.pid,
            array_agg(distinct format('%I.%I', schemas_of.nspname, relations.relname)) as relations
        from pg_locks as locks
        inner join pg_class as relations on locks.relation = relations.oid
        inner join pg_namespace as schemas_of on relations.relnamespace = schemas_of.oid
        where
            locks.locktype = 'relation'
            and locks.granted
            and locks.database = (select oid from pg_database where datname = current_database())
            and locks.pid <> pg_backend_pid()
            and relations.relkind in ('r', 'p', 'v', 'm')
            and schemas_of.nspname = any(schemas)
        group by locks.pid
    ),

    blocking as (
        select distinct unnest(pg_blocking_pids(waiting.pid)) as pid
        from pg_locks as waiting
        where not waiting.granted
    )

    select
        holders.pid,
        activity.usename::text,
        coalesce(activity.application_name, ''),
        activity.state,
        holders.relations,
        activity.xact_start,
        activity.query_start,
        blocking.pid is not null
    from holders
    inner join pg_stat_activity as activity on holders.pid = activity.pid
    left join blocking on holders.pid = blocking.pid
    order by activity.xact_start nulls last, holders.pid;
end;

-- One line about each of these sessions, for an error message.
create function app.describe_lock_holders(relation regclass)
returns text
language sql
set search_path = pg_catalog, pg_temp
begin atomic
    select
        string_agg(
            format(
                'pid %s (login %s, application %s%s)',
                holders.pid,
                holders.login,
                coalesce(nullif(holders.application, ''), 'unknown'),
                ', in a transaction since ' || to_char(holders.transaction_started_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
            ),
            '; '
        )
    from pg_class
    inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
    cross join app.lock_holders(array[pg_namespace.nspname::text]) as holders
    where
        pg_class.oid = relation
        and format('%I.%I', pg_namespace.nspname, pg_class.relname) = any(holders.relations);
end;

-- Locks a view against its readers until the transaction ends, so that the transaction can replace it. A view that is being read
-- is tried again and again: one long wait would block every later reader.
create function app.lock_view(view_name text, max_seconds int default 300)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
    locked_view constant regclass := to_regclass(view_name);
    deadline constant timestamptz := clock_timestamp() + make_interval(secs => max_seconds);
begin
    if locked_view is null then
        return;
    end if;
    loop
        begin
            -- changes nothing. LOCK TABLE would lock the tables of the view, too.
            execute format(
                'alter view %s owner to %I',
                locked_view, (select pg_get_userbyid(relowner) from pg_class where oid = locked_view)
            );
            return;
        exception
            when lock_not_available then
                if clock_timestamp() > deadline then
                    raise exception '% cannot be replaced: it has been in use for % s by %',
                        locked_view, max_seconds, coalesce(app.describe_lock_holders(locked_view), 'sessions that have just ended')
                        using
                        errcode = 'lock_not_available',
                        hint = 'End the session, or select pg_terminate_backend(pid), and build again.';
                end if;
                perform pg_sleep(0.5);
        end;
    end loop;
end
$$;

revoke execute on function app.lock_holders(text[]) from public;
revoke execute on function app.describe_lock_holders(regclass) from public;
revoke execute on function app.lock_view(text, int) from public;

reset role;

-- A person who forgets to end a transaction keeps old rows from being removed, and views from being replaced. This is the default
-- of every login that has none of its own; mailmart's processes set theirs.
do $$
begin
    if not exists (
        select from pg_catalog.pg_db_role_setting
        cross join unnest(setconfig) as setting
        where
            setdatabase = (select oid from pg_catalog.pg_database where datname = current_database())
            and setrole = 0
            and setting like 'idle\_in\_transaction\_session\_timeout=%'
    ) then
        execute format('alter database %I set idle_in_transaction_session_timeout = %L', current_database(), '10min');
    end if;
exception
    when insufficient_privilege then
        raise notice 'idle_in_transaction_session_timeout is not set: this login does not own the database';
end
$$;
