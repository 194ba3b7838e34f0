-- depends: 0025_bounded_bodies

-- Retention: old rows of the raw logs, events and messages are removed in bounded transactions, after a published build has counted
-- them. The rollups keep the counts. The scheduler calls these functions as mailmart_owner, the role in which it builds; nobody
-- else may (api/builds/retention.py).
set local role mailmart_owner;

-- The messages whose events were removed. Their counts are final: an event that comes later, or again, is not counted. The key is a
-- hash, so that nothing of a message is left once its row in fct_messages is removed, too.
create table app.closed_messages (
    workspace_id text not null,
    message_key uuid not null,
    counted_until timestamptz not null,
    primary key (workspace_id, message_key)
);

comment on table app.closed_messages is 'Messages whose events were removed by retention. Grain: one message of one warehouse.';
comment on column app.closed_messages.message_key is 'app.message_key() of the warehouse and the message.';
comment on column app.closed_messages.counted_until is 'Events of the message that were loaded until then were counted.';

create function app.message_key(warehouse text, message_id text) returns uuid
language sql immutable parallel safe
return cast(md5(warehouse || e'\n' || message_id) as uuid);

create table app.retention (
    target text not null,
    relation text not null,
    removed_until timestamptz not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    rows_removed bigint not null default 0,
    total_rows_removed bigint not null default 0,
    oldest_kept timestamptz,
    primary key (target, relation)
);

comment on table app.retention is 'What retention has removed. Grain: one warehouse × table.';
comment on column app.retention.relation is 'Name of the table, without its schema.';
comment on column app.retention.removed_until is 'Rows that are older may have been removed, so a build does not take their absence for a deletion.';
comment on column app.retention.ended_at is 'When the last run was done with the table; null while it runs, and if it was stopped.';
comment on column app.retention.rows_removed is 'By the last run, with what it removed before it was stopped.';
comment on column app.retention.oldest_kept is 'The oldest row that is still there although it is old enough: no published build has read it.';

-- Before the first row is removed.
create function app.begin_retention(warehouse text, relation_name text, until timestamptz)
returns void
language sql
set search_path = app, pg_temp
begin atomic
    insert into app.retention (target, relation, removed_until, started_at)
    values (warehouse, relation_name, until, clock_timestamp())
    on conflict (target, relation) do update
    set
        removed_until = greatest(retention.removed_until, excluded.removed_until),
        started_at = excluded.started_at,
        -- a run that was stopped goes on
        rows_removed = case when retention.ended_at is null then retention.rows_removed else 0 end,
        ended_at = null,
        oldest_kept = null;
end;

-- Counts removed rows, in the transaction that removes them.
create function app.count_removed_rows(warehouse text, relation_name text, removed bigint)
returns void
language sql
set search_path = app, pg_temp
begin atomic
    update app.retention
    set rows_removed = rows_removed + removed, total_rows_removed = total_rows_removed + removed
    where target = warehouse and relation = relation_name and removed > 0;
end;

-- Up to when rows of a table may have been removed from it; -infinity if none were.
create function app.removed_until(relation_name text)
returns timestamptz
language sql stable
set search_path = app, pg_temp
begin atomic
    select coalesce(max(removed_until), '-infinity') from app.retention
    where relation = relation_name;
end;

-- Keeps builds of the warehouse from beginning until the transaction ends. False if one is running, or if another process holds
-- this lock: then nothing may be removed.
create function app.hold_off_builds(warehouse text)
returns boolean
language plpgsql
set search_path = app, pg_temp
as $$
begin
    -- the lock under which app.begin_batch() begins a build
    return pg_try_advisory_xact_lock(hashtext('mailmart.batches'), hashtext(warehouse))
        and not exists (select from batches where target = warehouse and status = 'running');
end
$$;

-- The states of the raw logs that the models of the served publication have read: a row that is visible in all of them was taken up.
-- Null if that is not known: nothing is published, or the states are those of another database system.
create function app.published_raw_states(warehouse text)
returns pg_snapshot[]
language sql stable
begin atomic
    with models as (
        select distinct runs.model
        from app.model_runs as runs
        where runs.target = warehouse and runs.raw_batch_id is not null
    ),

    states as (
        select
            models.model,
            (
                select batches.raw_snapshot
                from app.current_publication as served
                inner join app.model_runs as runs on served.target = runs.target and served.batch_id >= runs.batch_id
                inner join app.batches on runs.raw_batch_id = batches.batch_id
                where
                    served.target = warehouse
                    and runs.model = models.model
                    and batches.system_identifier = app.system_identifier()
                    -- the model's last run in the publication, and no earlier one
                    and not exists (
                        select from app.model_runs as later
                        where
                            later.target = runs.target
                            and later.model = runs.model
                            and later.batch_id > runs.batch_id
                            and later.batch_id <= served.batch_id
                    )
            ) as raw_snapshot
        from models
    )

    select case when bool_and(states.raw_snapshot is not null) then array_agg(states.raw_snapshot) end
    from states;
end;

-- The tables that hold the rows of a raw log: itself, or its partitions.
create function app.leaf_tables(raw_log regclass)
returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with recursive tables as (
        select raw_log as relation
        union all
        select pg_inherits.inhrelid::regclass
        from tables
        inner join pg_inherits on tables.relation = pg_inherits.inhparent
    )

    select tables.relation
    from tables
    inner join pg_class on tables.relation = pg_class.oid
    where pg_class.relkind = 'r'
    order by tables.relation;
end;

-- The last build of the warehouse that began before a time: its rows, and the raw rows that it has read, are older, whatever their
-- loaded_at says. A row from 9999 would otherwise stay for ever.
create function app.last_build_before(warehouse text, moment timestamptz)
returns app.batches
language sql stable
begin atomic
    select batches.*
    from app.batches
    where
        batches.target = warehouse
        and batches.started_at < moment
        and batches.raw_snapshot is not null
        and batches.system_identifier = app.system_identifier()
    order by batches.batch_id desc
    limit 1;
end;

-- Removes the oldest rows of one table of a raw log: at most max_rows, loaded from `since` and before `until`, that the served
-- publication has taken up. `next_since` is where the next call begins. Without `since`: rows that a build which began before
-- `until` has read, although their loaded_at is later. Null if a build is running.
create function app.remove_raw_rows(
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
                ctid as place,
                loaded_at
            from only %1$s
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
            where ctid = any(array(select place from old_rows))
            returning 1
        )

        select
            (select count(*) from removed_rows),
            (select max(loaded_at) from old_rows)
        $statement$,
        leaf, range, max_rows
    )
    into removed, next_since
    using states;
    perform count_removed_rows(warehouse, raw_log, removed);
end
$$;

-- Drops one partition of a raw log by loaded_at that ends before `until`, if the served publication has taken up all of its rows.
-- Returns its rows; null if there is no such partition, or if a build is running.
create function app.drop_raw_partition(warehouse text, raw_log regclass, until timestamptz)
returns bigint
language plpgsql
set search_path = app, pg_temp
set lock_timeout = '1s'
as $$
declare
    states pg_snapshot[];
    leaf regclass;
    partition_rows bigint;
    unread_rows bigint;
begin
    if not hold_off_builds(warehouse) then
        return null;
    end if;
    states := published_raw_states(warehouse);
    for leaf in
        select pg_class.oid::regclass
        from pg_inherits
        inner join pg_class on pg_inherits.inhrelid = pg_class.oid
        where
            pg_inherits.inhparent = raw_log
            and states is not null
            and pg_get_partkeydef(raw_log) = 'RANGE (loaded_at)'
            and pg_class.relkind = 'r'
            -- FOR VALUES FROM ('…') TO ('…'); not DEFAULT and not MAXVALUE
            and (regexp_match(pg_get_expr(pg_class.relpartbound, pg_class.oid), 'TO \(''([^'']+)''\)$'))[1]::timestamptz <= until
        order by 1
    loop
        -- nothing is loaded into it from here on
        execute format('lock table only %s in share row exclusive mode', leaf);
        execute format(
            'select count(*), count(*) filter (where exists ('
            || 'select from unnest($1) as states (state) where not pg_visible_in_snapshot(loaded_xid, states.state))) from only %s',
            leaf
        ) into partition_rows, unread_rows using states;
        continue when unread_rows > 0;
        execute format('drop table %s', leaf);
        perform count_removed_rows(warehouse, (select relname from pg_class where oid = raw_log), partition_rows);
        return partition_rows;
    end loop;
    return null;
end
$$;

-- Closes the messages that have an event in these pages of fct_email_events that was loaded before `until`: removes all of their
-- events, and notes their keys. A message whose events are not all in the served publication stays. So an incremental build never
-- misses a removed row: it has counted it. Returns the removed rows; null if a build is running.
-- Of a message with two ids the aliases are closed, too, unless another message has them: a late event under one is rejected like any
-- other. A message of which only expired versions are left is not closed: its events were moved to another message.
create function app.close_messages(warehouse text, events regclass, until timestamptz, first_page bigint, pages int)
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    served record;
    old_batch_id constant bigint := (last_build_before(warehouse, until)).batch_id;
    removed bigint;
begin
    if not hold_off_builds(warehouse) then
        return null;
    end if;
    select
        publications.batch_id,
        publications.data_as_of
    into served from current_publication
    inner join publications using (target, batch_id)
    where target = warehouse;
    if not found then
        return 0;
    end if;
    execute format(
        $statement$
        with old_messages as materialized (
            select distinct
                workspace_id,
                message_id
            from %1$s
            where ctid >= %2$L and ctid < %3$L and (loaded_at < %4$L or valid_from <= %8$s)
        ),

        -- a subquery in the condition is a lookup for each message, whatever the planner expects
        closed as materialized (
            select old_messages.* from old_messages
            where (
                select bool_and(events.valid_from <= %5$s and (events.valid_to <= %5$s or events.valid_to = 9223372036854775807))
                from %1$s as events
                where events.workspace_id = old_messages.workspace_id and events.message_id = old_messages.message_id
            )
        ),

        removed_events as (
            delete from %1$s as events
            using closed
            where events.workspace_id = closed.workspace_id and events.message_id = closed.message_id
            returning events.workspace_id, events.message_id, events.alias_message_id, events.valid_to
        ),

        closed_ids as (
            select
                workspace_id,
                message_id
            from removed_events
            where valid_to = 9223372036854775807
            union
            select
                removed_aliases.workspace_id,
                removed_aliases.alias_message_id
            from (
                select distinct
                    workspace_id,
                    message_id,
                    alias_message_id
                from removed_events
                where valid_to = 9223372036854775807 and alias_message_id is not null
            ) as removed_aliases
            where
                (
                    select true from %1$s as others
                    where
                        others.workspace_id = removed_aliases.workspace_id
                        and others.alias_message_id = removed_aliases.alias_message_id
                        and others.message_id <> removed_aliases.message_id
                        and others.is_under_alias is null
                        and others.valid_to = 9223372036854775807
                    limit 1
                ) is null
        ),

        noted as (
            insert into app.closed_messages (workspace_id, message_key, counted_until)
            select
                workspace_id,
                app.message_key(%6$L, message_id),
                %7$L
            from closed_ids
            on conflict do nothing
        )

        select count(*) from removed_events
        $statement$,
        events, format('(%s,0)', first_page), format('(%s,0)', first_page + pages), until, served.batch_id, warehouse,
        served.data_as_of, coalesce(old_batch_id, 0)
    ) into removed;
    perform count_removed_rows(warehouse, 'fct_email_events', removed);
    return removed;
end
$$;

-- Removes the closed messages in these pages of fct_messages that were sent before `until`, or never. The rollups have counted
-- their versions: those of the served publication. Returns the removed rows; null if a build is running.
create function app.remove_messages(warehouse text, messages regclass, until timestamptz, first_page bigint, pages int)
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    served_batch_id bigint;
    removed bigint;
begin
    if not hold_off_builds(warehouse) then
        return null;
    end if;
    select batch_id into served_batch_id from current_publication
    where target = warehouse;
    execute format(
        $statement$
        with removed_messages as (
            delete from %1$s as messages
            where
                ctid >= %2$L
                and ctid < %3$L
                and coalesce(sent_at, '-infinity') < %4$L
                and valid_from <= %5$L
                and (valid_to <= %5$L or valid_to = 9223372036854775807)
                and (
                    select true from app.closed_messages as closed
                    where
                        closed.workspace_id = messages.workspace_id
                        and closed.message_key = app.message_key(%6$L, messages.message_id)
                )
            returning 1
        )

        select count(*) from removed_messages
        $statement$,
        messages, format('(%s,0)', first_page), format('(%s,0)', first_page + pages), until, served_batch_id, warehouse
    ) into removed;
    perform count_removed_rows(warehouse, 'fct_messages', removed);
    return removed;
end
$$;

-- Removes the rejected events in these pages of fct_rejected_events that were loaded before `until`. Returns the removed rows; null
-- if a build is running.
create function app.remove_rejected_events(warehouse text, rejected regclass, until timestamptz, first_page bigint, pages int)
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    removed bigint;
begin
    if not hold_off_builds(warehouse) then
        return null;
    end if;
    execute format(
        $statement$
        with removed_events as (
            delete from %1$s
            where
                ctid >= %2$L
                and ctid < %3$L
                and (loaded_at < %4$L or valid_from <= %6$s)
                and valid_from <= (select batch_id from app.current_publication where target = %5$L)
            returning 1
        )

        select count(*) from removed_events
        $statement$,
        rejected, format('(%s,0)', first_page), format('(%s,0)', first_page + pages), until, warehouse,
        coalesce((last_build_before(warehouse, until)).batch_id, 0)
    ) into removed;
    perform count_removed_rows(warehouse, 'fct_rejected_events', removed);
    return removed;
end
$$;

revoke execute on function app.message_key(text, text) from public;
revoke execute on function app.begin_retention(text, text, timestamptz) from public;
revoke execute on function app.count_removed_rows(text, text, bigint) from public;
revoke execute on function app.removed_until(text) from public;
revoke execute on function app.hold_off_builds(text) from public;
revoke execute on function app.published_raw_states(text) from public;
revoke execute on function app.last_build_before(text, timestamptz) from public;
revoke execute on function app.leaf_tables(regclass) from public;
revoke execute on function app.remove_raw_rows(text, text, regclass, timestamptz, timestamptz, int) from public;
revoke execute on function app.drop_raw_partition(text, regclass, timestamptz) from public;
revoke execute on function app.close_messages(text, regclass, timestamptz, bigint, int) from public;
revoke execute on function app.remove_messages(text, regclass, timestamptz, bigint, int) from public;
revoke execute on function app.remove_rejected_events(text, regclass, timestamptz, bigint, int) from public;

reset role;
