-- depends: 0054_slots_of_a_campaign 0063_exports_of_planned_shares

-- TimescaleDB, if the database has it: the raw logs can be hypertables on loaded_at (`mailmart migrate --timescale`), old chunks
-- can be converted to the columnstore, and retention drops whole chunks. Nothing here needs the extension before it is used: each
-- statement of it is dynamic. See decision 126.
set local role mailmart_owner;

-- The schema of the extension; null if the database does not have it.
create function app.timescale_schema()
returns text
language sql stable
begin atomic
    select pg_namespace.nspname::text
    from pg_catalog.pg_extension
    inner join pg_catalog.pg_namespace on pg_extension.extnamespace = pg_namespace.oid
    where pg_extension.extname = 'timescaledb';
end;

-- The chunks of a raw log; none if it is no hypertable.
create function app.raw_chunks(raw_log regclass)
returns table (chunk regclass, range_start timestamptz, range_end timestamptz, is_compressed boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if app.timescale_schema() is null then
        return;
    end if;
    return query execute
        $statement$
        select
            format('%I.%I', chunks.chunk_schema, chunks.chunk_name)::regclass,
            chunks.range_start,
            chunks.range_end,
            coalesce(chunks.is_compressed, false)
        from timescaledb_information.chunks as chunks
        where format('%I.%I', chunks.hypertable_schema, chunks.hypertable_name)::regclass = $1
        order by chunks.range_start
        $statement$
    using raw_log;
end
$$;

create function app.is_hypertable(raw_log regclass)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    found_one boolean;
begin
    if app.timescale_schema() is null then
        return false;
    end if;
    execute
        $statement$
        select exists (
            select from timescaledb_information.hypertables as hypertables
            where format('%I.%I', hypertables.hypertable_schema, hypertables.hypertable_name)::regclass = $1
        )
        $statement$
    into found_one using raw_log;
    return found_one;
end
$$;

-- Makes a raw log a hypertable on loaded_at, with chunks of seven days. Rows that are there are moved, in this transaction, which
-- keeps everybody else out of the table. Their loaded_xid stays, so no build reads them again. True if it was none before.
create function app.make_hypertable(raw_log regclass)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    extension_schema constant text := app.timescale_schema();
    log_name constant text := (select relname from pg_class where oid = raw_log);
    key_name text;
    key_columns text;
begin
    if extension_schema is null then
        raise exception 'the database has no extension timescaledb';
    end if;
    if app.is_hypertable(raw_log) then
        return false;
    end if;
    execute format('lock table %s in access exclusive mode', raw_log);
    -- a unique index of a hypertable has its time
    select
        pg_constraint.conname,
        string_agg(format('%I', pg_attribute.attname), ', ' order by columns.place)
    into key_name, key_columns
    from pg_constraint
    cross join unnest(pg_constraint.conkey) with ordinality as columns (attnum, place)
    inner join pg_attribute on pg_constraint.conrelid = pg_attribute.attrelid and columns.attnum = pg_attribute.attnum
    where pg_constraint.conrelid = raw_log and pg_constraint.contype = 'p'
    group by pg_constraint.conname
    having bool_and(pg_attribute.attname <> 'loaded_at');
    if key_name is not null then
        execute format('alter table %s drop constraint %I', raw_log, key_name);
        execute format('alter table %s add constraint %I primary key (%s, loaded_at)', raw_log, key_name, key_columns);
    end if;
    -- it would give every row that is moved the id of this transaction
    execute format('drop trigger set_loaded_xid on %s', raw_log);
    execute format(
        'select from %1$I.create_hypertable($1, %1$I.by_range(''loaded_at'', interval ''7 days''),'
        || ' create_default_indexes => false, migrate_data => true)',
        extension_schema
    ) using raw_log;
    perform app.track_loading(raw_log);
    execute format('analyze %s', raw_log);
    return true;
end
$$;

-- Converts one chunk whose rows are all older than `until` to the columnstore, or again if rows have come since, and returns it;
-- null if there is none. Waits a second for a lock. Raises feature_not_supported under the Apache licence.
create function app.convert_raw_chunk(raw_log regclass, until timestamptz)
returns regclass
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
    extension_schema constant text := app.timescale_schema();
    has_columnstore boolean;
    old_chunk regclass;
begin
    if not app.is_hypertable(raw_log) then
        return null;
    end if;
    if current_setting('timescaledb.license', true) is distinct from 'timescale' then
        raise feature_not_supported using message = 'the columnstore needs the licence of Timescale, and this server has apache';
    end if;
    execute
        $statement$
        select hypertables.compression_enabled
        from timescaledb_information.hypertables as hypertables
        where format('%I.%I', hypertables.hypertable_schema, hypertables.hypertable_name)::regclass = $1
        $statement$
    into has_columnstore using raw_log;
    if not has_columnstore then
        execute format(
            'alter table %s set (timescaledb.compress, timescaledb.compress_segmentby = ''workspace_id'','
            || ' timescaledb.compress_orderby = ''loaded_at, loaded_xid'')',
            raw_log
        );
    end if;
    -- bits of the status: 2 and 8, rows were inserted or updated since it was converted
    execute
        $statement$
        select chunks.chunk
        from app.raw_chunks($1) as chunks
        where
            chunks.range_end <= $2
            and (not chunks.is_compressed or (_timescaledb_functions.chunk_status(chunks.chunk) & 10) <> 0)
        order by chunks.range_start
        limit 1
        $statement$
    into old_chunk using raw_log, until;
    if old_chunk is not null then
        execute format('select %I.compress_chunk($1)', extension_schema) using old_chunk;
    end if;
    return old_chunk;
end
$$;

-- See migration 0027. New: chunks of a hypertable.
create or replace function app.drop_raw_partition(warehouse text, raw_log regclass, until timestamptz)
returns bigint
language plpgsql
set search_path = app, pg_temp
set lock_timeout = '1s'
as $$
declare
    states pg_snapshot[];
    partition_of_log record;
    partition_rows bigint;
    unread_rows bigint;
begin
    if not hold_off_builds(warehouse) then
        return null;
    end if;
    states := published_raw_states(warehouse);
    if states is null then
        return null;
    end if;
    for partition_of_log in
        select
            pg_class.oid::regclass as leaf,
            null::timestamptz as range_start,
            null::timestamptz as range_end
        from pg_inherits
        inner join pg_class on pg_inherits.inhrelid = pg_class.oid
        where
            pg_inherits.inhparent = raw_log
            and pg_get_partkeydef(raw_log) = 'RANGE (loaded_at)'
            and pg_class.relkind = 'r'
            -- FOR VALUES FROM ('…') TO ('…'); not DEFAULT and not MAXVALUE
            and (regexp_match(pg_get_expr(pg_class.relpartbound, pg_class.oid), 'TO \(''([^'']+)''\)$'))[1]::timestamptz <= until
        union all
        select
            chunks.chunk,
            chunks.range_start,
            chunks.range_end
        from raw_chunks(raw_log) as chunks
        where chunks.range_end <= until
        order by 1
    loop
        -- nothing is loaded into it from here on
        execute format('lock table only %s in share row exclusive mode', partition_of_log.leaf);
        execute format(
            'select count(*), count(*) filter (where exists ('
            || 'select from unnest($1) as states (state) where not pg_visible_in_snapshot(loaded_xid, states.state))) from %s %s',
            -- of a chunk, ONLY are the rows that are not in the columnstore
            case when partition_of_log.range_end is null then 'only' else '' end,
            partition_of_log.leaf
        ) into partition_rows, unread_rows using states;
        continue when unread_rows > 0;
        if partition_of_log.range_end is null then
            execute format('drop table %s', partition_of_log.leaf);
        else
            execute format('select %I.drop_chunks($1, older_than => $2, newer_than => $3)', timescale_schema())
            using raw_log, partition_of_log.range_end, partition_of_log.range_start;
        end if;
        perform count_removed_rows(warehouse, (select relname from pg_class where oid = raw_log), partition_rows);
        return partition_rows;
    end loop;
    return null;
end
$$;

-- See migration 0027. New: a chunk in the columnstore has no places of rows (ctid). There, whole ranges of loaded_at are removed,
-- so a call may remove more than max_rows: all rows that were loaded at the time of the last one.
create or replace function app.remove_raw_rows(
    warehouse text, raw_log text, leaf regclass, since timestamptz, until timestamptz, max_rows int,
    out removed bigint, out next_since timestamptz
)
language plpgsql
set search_path = app, pg_temp
as $$
declare
    states pg_snapshot[];
    old_build batches;
    range text;
    is_columnar constant boolean := exists (
        select from raw_chunks(format('raw.%I', raw_log)::regclass) as chunks
        where chunks.chunk = leaf and chunks.is_compressed
    );
begin
    if not hold_off_builds(warehouse) then
        return;
    end if;
    removed := 0;
    states := published_raw_states(warehouse);
    if states is null then
        return;
    end if;
    if since is not null then
        range := format('loaded_at >= %L and loaded_at < %L', since, until);
    else
        old_build := last_build_before(warehouse, until);
        if old_build.batch_id is null then
            return;
        end if;
        states := states || old_build.raw_snapshot;
        range := format('loaded_at >= %L and loaded_xid < %L', until, pg_snapshot_xmax(old_build.raw_snapshot));
    end if;
    execute format(
        $statement$
        with old_rows as materialized (
            select
                %6$s as place,
                loaded_at
            from %5$s %1$s
            where
                %2$s
                and not exists (
                    select from unnest($1) as states (state)
                    where not pg_visible_in_snapshot(loaded_xid, states.state)
                )
            order by loaded_at
            limit %3$s
        ),

        removed_rows as (
            delete from only %1$s
            where ctid = any(array(select place from old_rows where not %4$L::boolean))
            returning 1
        )

        select
            (select count(*) from removed_rows),
            (select max(loaded_at) from old_rows)
        $statement$,
        -- of a chunk, ONLY are the rows that are not in the columnstore; of a table with chunks, those in none
        leaf, range, max_rows, is_columnar, case when is_columnar then '' else 'only' end,
        case when is_columnar then 'null::tid' else 'ctid' end
    )
    into removed, next_since
    using states;
    if is_columnar and next_since is not null then
        execute format(
            $statement$
            delete from %1$s
            where
                %2$s
                and loaded_at <= $2
                and not exists (
                    select from unnest($1) as states (state)
                    where not pg_visible_in_snapshot(loaded_xid, states.state)
                )
            $statement$,
            leaf, range
        ) using states, next_since;
        get diagnostics removed = row_count;
    end if;
    perform count_removed_rows(warehouse, raw_log, removed);
end
$$;

revoke execute on function app.timescale_schema() from public;
revoke execute on function app.raw_chunks(regclass) from public;
revoke execute on function app.is_hypertable(regclass) from public;
revoke execute on function app.make_hypertable(regclass) from public;
revoke execute on function app.convert_raw_chunk(regclass, timestamptz) from public;

reset role;
