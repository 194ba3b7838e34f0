-- depends: 0123_compressed_raw_events

-- Old events of core are compressed: all events of a message leave fct_email_events for a block of app.compressed_events, and come
-- back as they were when something needs them (macros/versioning/compressed_events.sql, api/erasure, api/builds/retention.py).
set local role mailmart_owner;

create table app.compressed_events (
    block_id bigint generated always as identity primary key,
    target text not null,
    relation text not null,
    workspace_id text not null,
    sent_month date not null,
    first_message_id text collate "C" not null,
    last_message_id text collate "C" not null,
    oldest_loaded_at timestamptz not null,
    newest_loaded_at timestamptz not null,
    oldest_valid_from bigint not null,
    row_count int not null,
    taken_message_ids text[] not null default '{}',
    recipient_hash_bytes bytea[]
);

create index compressed_events_by_message on app.compressed_events (
    target, workspace_id, sent_month, first_message_id, last_message_id
);

comment on table app.compressed_events is
'Old events of core as blocks. Grain: up to about 2,000 events of whole messages of one warehouse, workspace and month of sending.';
comment on column app.compressed_events.relation is 'The table that the events belong to, with its schema.';
comment on column app.compressed_events.sent_month is 'The first day of the month (UTC) in which the messages were sent; 0001-01-01 if never.';
comment on column app.compressed_events.first_message_id is 'The first message id of the block, in the order of bytes.';
comment on column app.compressed_events.row_count is 'How many events it has, without those of taken_message_ids.';
comment on column app.compressed_events.taken_message_ids is
'Messages that were taken out. Their rows here are no events any more, until the block is written anew.';
comment on column app.compressed_events.recipient_hash_bytes is
'The hashes as bytes, if all of the block are hexadecimal. Every other array has the name of its column, and is added with the first block.';

-- Who reads the table reads its blocks, in the view all_email_events: the policies are those of macros/security.
alter table app.compressed_events enable row level security;
create policy all_tenants on app.compressed_events for select to mailmart_analyst using (true);
create policy analyst_workspace on app.compressed_events for select to mailmart_workspace_analyst
using (workspace_id = (select app.analyst_workspace_id()));
grant select on app.compressed_events to mailmart_analyst, mailmart_workspace_analyst;

-- The columns of a table, in the order of app.unpacked_rows().
create function app.names_of_columns(relation regclass) returns text
language sql stable
set search_path = app, pg_temp
begin atomic
    select 'workspace_id, ' || string_agg(quote_ident(columns.name), ', ' order by columns.place)
    from (select name, ordinality as place from app.columns_to_compress(relation) with ordinality) as columns;
end;

-- The events of blocks that meet a condition, as a query with the columns of the table and the month.
create function app.rows_in_blocks(events regclass, condition text) returns text
language sql stable
set search_path = app, pg_temp
begin atomic
    select app.unpacked_rows(
        'app.compressed_events',
        events,
        format('(%s) and unpacked.message_id <> all(blocks.taken_message_ids)', condition),
        ', blocks.sent_month'
    );
end;

-- Between the functions below, rows are in pg_temp.rows_of_blocks, with the month of their message.
create function app.begin_rows_of_blocks(events regclass) returns void
language plpgsql
set search_path = app, pg_temp
as $$
begin
    -- not a new one each time: a transaction holds a lock on each that it has made
    if to_regclass('pg_temp.rows_of_blocks') is not null then
        truncate pg_temp.rows_of_blocks;
        return;
    end if;
    execute format(
        'create temporary table rows_of_blocks on commit drop as select cast(null as date) as sent_month, events.* from %s as events'
        || ' where false',
        events
    );
end
$$;

-- Adds the rows of blocks, and deletes the blocks.
create function app.unpack_events(events regclass, block_ids bigint[]) returns void
language plpgsql
set search_path = app, pg_temp
as $$
begin
    execute format(
        'insert into pg_temp.rows_of_blocks (%s, sent_month) %s',
        names_of_columns(events),
        rows_in_blocks(events, 'blocks.block_id = any($1)')
    ) using block_ids;
    delete from compressed_events where block_id = any(block_ids);
end
$$;

-- Writes the rows as blocks of up to about 2,000. A message is never split.
create function app.pack_events(warehouse text, events regclass) returns void
language plpgsql
set search_path = app, pg_temp
as $$
begin
    execute format(
        $pack$
        with messages as (
            select
                workspace_id,
                sent_month,
                message_id,
                (sum(count(*)) over (partition by workspace_id, sent_month order by message_id collate "C") - count(*))::bigint
                / 2000 as block
            from pg_temp.rows_of_blocks
            group by workspace_id, sent_month, message_id
        ),

        -- by a number, because each array is sorted by itself
        numbered as (
            select
                rows_of_blocks.*,
                messages.block,
                row_number() over (
                    order by
                        rows_of_blocks.workspace_id, rows_of_blocks.sent_month, rows_of_blocks.message_id collate "C",
                        rows_of_blocks.occurred_at, rows_of_blocks.event_id collate "C"
                ) as place
            from pg_temp.rows_of_blocks
            inner join messages using (workspace_id, sent_month, message_id)
        )

        insert into app.compressed_events (
            target, relation, workspace_id, sent_month, first_message_id, last_message_id, oldest_loaded_at, newest_loaded_at,
            oldest_valid_from, row_count, %s
        )
        select
            %L,
            %L,
            workspace_id,
            sent_month,
            min(message_id collate "C"),
            max(message_id collate "C"),
            min(loaded_at),
            max(loaded_at),
            min(valid_from),
            count(*),
            %s
        from numbered
        group by workspace_id, sent_month, block
        $pack$,
        names_of_arrays(events), warehouse, qualified_name(events),
        packed_columns(events, 'place')
    );
end
$$;

create function app.qualified_name(relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select format('%I.%I', pg_namespace.nspname, pg_class.relname)
    from pg_class
    inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
    where pg_class.oid = relation;
end;

-- Puts the rows back into their table, with the batches that they had. An event whose id another message has taken since gets another
-- one: see docs/decisions/0201.
create function app.put_back_events(events regclass) returns bigint
language plpgsql
set search_path = app, pg_temp
-- statistics of a table that was nearly empty know nothing of the rows that it gets here
set enable_seqscan = off
as $$
declare
    put_back bigint;
begin
    execute format(
        $insert$
        insert into %1$s (%2$s)
        select %3$s
        from (
            select
                rows_of_blocks.*,
                row_number() over (
                    partition by rows_of_blocks.workspace_id, rows_of_blocks.event_id
                    order by rows_of_blocks.valid_from, rows_of_blocks.message_id collate "C"
                ) as copy_number
            from pg_temp.rows_of_blocks
        ) as rows_of_blocks
        left join lateral (
            select true as is_taken from %1$s as events
            where
                events.event_id = rows_of_blocks.event_id
                -- no column, so that no index that begins with the workspace is taken
                and events.workspace_id || '' = rows_of_blocks.workspace_id
                and events.valid_to = 9223372036854775807
            offset 0
        ) as others on true
        $insert$,
        events,
        names_of_columns(events),
        regexp_replace(
            names_of_columns(events),
            '\mevent_id\M',
            'case when copy_number > 1 or is_taken then event_id || '':'' || md5(message_id) else event_id end'
        )
    );
    get diagnostics put_back = row_count;
    return put_back;
end
$$;

-- Takes messages out of the blocks of a warehouse: their rows are in their table again, as they were. `messages` is a query with
-- workspace_id and message_id; null: all messages. Returns the rows.
create function app.take_out_events(warehouse text, events regclass, messages text default null)
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    taken bigint := 0;
    block_ids bigint[];
begin
    -- one at a time: blocks that another transaction has written anew have other ids
    perform pg_advisory_xact_lock(hashtext('mailmart.compressed_events'), hashtext(warehouse));
    if not exists (select from compressed_events where target = warehouse) then
        return 0;
    end if;
    perform add_columns_of_blocks('app.compressed_events', events);

    -- without the messages, blocks are not found
    if messages is null or to_regclass(messages_of_events(events)) is null then
        loop
            block_ids := array(select block_id from compressed_events where target = warehouse order by block_id limit 100);
            exit when block_ids = '{}';
            perform begin_rows_of_blocks(events);
            perform unpack_events(events, block_ids);
            taken := taken + put_back_events(events);
        end loop;
        drop table pg_temp.rows_of_blocks;
        -- the build plans its statements by these rows, in this transaction
        execute format('analyze %s', events);
        return taken;
    end if;

    execute format(
        'create temporary table taken_messages on commit drop as'
        || ' select distinct workspace_id, message_id from (%s) as messages where message_id is not null',
        messages
    );
    analyze pg_temp.taken_messages;
    -- by the month of the message and the first and last id of the block; then by the ids in it
    execute format(
        $find$
        create temporary table found_messages on commit drop as
            with candidates as materialized (
                select distinct blocks.block_id
                from pg_temp.taken_messages as taken
                cross join lateral (
                    select coalesce(date_trunc('month', known.sent_at at time zone 'UTC'), '0001-01-01')::date as sent_month
                    from %s as known
                    where
                        known.workspace_id = taken.workspace_id
                        and known.message_id = taken.message_id
                        and known.valid_to = 9223372036854775807
                    offset 0
                ) as known
                cross join lateral (
                    select compressed_events.block_id from app.compressed_events
                    where
                        compressed_events.target = %L
                        and compressed_events.workspace_id = taken.workspace_id
                        and compressed_events.sent_month = known.sent_month
                        and compressed_events.first_message_id <= taken.message_id collate "C"
                        and compressed_events.last_message_id >= taken.message_id collate "C"
                    offset 0
                ) as blocks
            ),

            ids as (
                select
                    compressed_events.block_id,
                    compressed_events.workspace_id,
                    held.message_id
                from candidates
                inner join app.compressed_events using (block_id)
                cross join lateral unnest(compressed_events.message_id) as held (message_id)
                where held.message_id <> all(compressed_events.taken_message_ids)
            )

            select
                ids.block_id,
                ids.workspace_id,
                ids.message_id
            from ids
            inner join pg_temp.taken_messages using (workspace_id, message_id)
            group by 1, 2, 3
        $find$,
        messages_of_events(events), warehouse
    );
    drop table pg_temp.taken_messages;
    if exists (select from pg_temp.found_messages) then
        analyze pg_temp.found_messages;
        perform begin_rows_of_blocks(events);
        -- The columns of a block are unpacked, and not packed again: that takes four times as long. Each block once, which the offset
        -- is for: the planner would join the messages to the blocks of their workspace first, and unpack a block for each of them.
        execute format(
            'insert into pg_temp.rows_of_blocks (%1$s, sent_month) select %1$s, sent_month from (%2$s offset 0) as unpacked'
            || ' inner join (select distinct workspace_id, message_id from pg_temp.found_messages) as found'
            || ' using (workspace_id, message_id)',
            names_of_columns(events),
            rows_in_blocks(events, 'blocks.block_id = any(array(select block_id from pg_temp.found_messages))')
        );
        taken := put_back_events(events);
        update compressed_events
        set
            taken_message_ids = compressed_events.taken_message_ids || counted.message_ids,
            row_count = compressed_events.row_count - counted.row_count
        from (
            select
                block_id,
                array_agg(distinct message_id) as message_ids,
                count(*) as row_count
            from pg_temp.found_messages
            inner join pg_temp.rows_of_blocks using (workspace_id, message_id)
            group by block_id
        ) as counted
        where compressed_events.block_id = counted.block_id;
        delete from compressed_events
        where row_count = 0 and block_id in (select block_id from pg_temp.found_messages);
        drop table pg_temp.rows_of_blocks;
    end if;
    drop table pg_temp.found_messages;
    return taken;
end
$$;

-- Writes blocks anew, a hundred at a time, without the messages that were taken out.
create function app.rewrite_blocks(warehouse text, events regclass, block_ids bigint[]) returns void
language plpgsql
set search_path = app, pg_temp
as $$
begin
    for first_place in 1..cardinality(block_ids) by 100 loop
        perform begin_rows_of_blocks(events);
        perform unpack_events(events, block_ids[first_place:first_place + 99]);
        perform pack_events(warehouse, events);
    end loop;
    if to_regclass('pg_temp.rows_of_blocks') is not null then
        drop table pg_temp.rows_of_blocks;
    end if;
end
$$;

create function app.messages_of_events(events regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select format('%I.fct_messages', pg_namespace.nspname)
    from pg_class
    inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
    where pg_class.oid = events;
end;

-- A view beside the table, with its rows and those of its blocks, for analysts. It is made with the first block, and gets the
-- columns that the table gets.
create function app.make_view_of_all_events(events regclass) returns void
language plpgsql
set search_path = app, pg_temp
as $$
declare
    view_name constant text := (
        select format('%I.all_email_events', pg_namespace.nspname)
        from pg_class
        inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
        where pg_class.oid = events
    );
begin
    if
        (select count(*) from pg_attribute where attrelid = to_regclass(view_name) and attnum > 0)
        = (select count(*) from pg_attribute where attrelid = events and attnum > 0 and not attisdropped)
    then
        return;
    end if;
    execute format(
        'create or replace view %s with (security_invoker = true) as select %s from %s union all %s',
        view_name,
        names_of_columns(events),
        events,
        unpacked_rows(
            'app.compressed_events',
            events,
            format(
                'blocks.relation = %L and unpacked.message_id <> all(blocks.taken_message_ids)', qualified_name(events)
            )
        )
    );
    execute format('grant select on %s to mailmart_analyst, mailmart_workspace_analyst', view_name);
    execute format(
        'comment on view %s is %L', view_name, 'fct_email_events, with the events that are compressed. Grain: one version of an event.'
    );
end
$$;

-- Lists the messages that can be compressed, in the order of blocks, for the calls of compress_events() in this session. It reads the
-- table once, and holds no build off.
create function app.list_messages_to_compress(warehouse text, events regclass, until timestamptz) returns void
language plpgsql
set search_path = app, pg_temp
set enable_seqscan = on
as $$
begin
    execute format(
        $list$
        create temporary table messages_to_compress as
        select
            old_messages.workspace_id,
            old_messages.message_id,
            sum(old_messages.row_count) over (
                order by old_messages.workspace_id, known.sent_month, old_messages.message_id collate "C"
            )::bigint as rows_until
        from (
            select
                workspace_id,
                message_id,
                count(*) as row_count
            from %1$s
            group by workspace_id, message_id
            -- an array has at most 1 GB
            having bool_and(%2$s) and count(*) <= 10000
        ) as old_messages
        inner join (
            select
                workspace_id,
                message_id,
                date_trunc('month', sent_at at time zone 'UTC') as sent_month
            from %3$s
            where valid_to = 9223372036854775807
        ) as known using (workspace_id, message_id)
        $list$,
        events, can_be_compressed(warehouse, until), messages_of_events(events)
    );
    create index on pg_temp.messages_to_compress (rows_until);
    analyze pg_temp.messages_to_compress;
end
$$;

-- The condition of all rows of a message that can be compressed: old, current, in the served publication, without a second id, by
-- which builds look for events, and without very long texts. See app.last_build_before() for a loaded_at in the future.
create function app.can_be_compressed(warehouse text, until timestamptz) returns text
language sql stable
set search_path = app, pg_temp
begin atomic
    select format(
        '((loaded_at < %L or valid_from <= %s) and valid_from <= %s and valid_to = 9223372036854775807 and alias_message_id is null'
        || ' and octet_length(concat(event_id, message_id, diagnostic, url, user_agent, array_to_string(tags, ''''))) < 20000)',
        until,
        coalesce((app.last_build_before(warehouse, until)).batch_id, 0),
        coalesce((select batch_id from app.current_publication where target = warehouse), 0)
    );
end;

-- Compresses some of the messages all of whose events were loaded before `until`: about max_rows events. Returns the events; 0 if
-- nothing is left; null while a build runs. After a build that was not published, nothing is compressed: it may be continued.
create function app.compress_events(warehouse text, events regclass, until timestamptz, max_rows int)
returns bigint
language plpgsql
set search_path = app, pg_temp
-- each message is looked up, whatever the statistics say
set enable_seqscan = off
as $$
declare
    compressed bigint := 0;
    chosen_messages bigint;
begin
    if to_regclass('pg_temp.messages_to_compress') is null then
        perform list_messages_to_compress(warehouse, events, until);
    end if;
    if not hold_off_builds(warehouse) then
        return null;
    end if;
    if
        (select batch_id from current_publication where target = warehouse)
        is distinct from (select max(batch_id) from batches where target = warehouse)
    then
        drop table pg_temp.messages_to_compress;
        return 0;
    end if;
    perform pg_advisory_xact_lock(hashtext('mailmart.compressed_events'), hashtext(warehouse));
    perform add_columns_of_blocks('app.compressed_events', events);
    perform make_view_of_all_events(events);

    while compressed = 0 loop
        perform begin_rows_of_blocks(events);
        execute format(
            $move$
            with chosen as (
                delete from pg_temp.messages_to_compress
                where rows_until <= (select min(rows_until) from pg_temp.messages_to_compress) + %1$s
                returning workspace_id, message_id
            ),

            -- builds can have changed them since they were listed
            unchanged as materialized (
                select
                    chosen.workspace_id,
                    chosen.message_id,
                    coalesce(date_trunc('month', known.sent_at at time zone 'UTC'), '0001-01-01')::date as sent_month,
                    checked.places
                from chosen
                cross join lateral (
                    select
                        bool_and(%2$s) as is_compressible,
                        array_agg(events.ctid) as places
                    from %3$s as events
                    where events.workspace_id = chosen.workspace_id and events.message_id = chosen.message_id
                ) as checked
                cross join lateral (
                    select messages.sent_at from %4$s as messages
                    where
                        messages.workspace_id = chosen.workspace_id
                        and messages.message_id = chosen.message_id
                        and messages.valid_to = 9223372036854775807
                    offset 0
                ) as known
                where checked.is_compressible
            ),

            removed as (
                delete from %3$s as events
                where events.ctid = any(array(select unnest(unchanged.places) from unchanged))
                returning events.*
            ),

            moved as (
                insert into pg_temp.rows_of_blocks (sent_month, %5$s)
                select
                    unchanged.sent_month,
                    %6$s
                from removed
                inner join unchanged using (workspace_id, message_id)
                returning 1
            )

            select
                (select count(*) from chosen),
                (select count(*) from moved)
            $move$,
            max_rows, can_be_compressed(warehouse, until), events, messages_of_events(events), names_of_columns(events),
            regexp_replace(names_of_columns(events), '(^|, )', '\1removed.', 'g')
        ) into chosen_messages, compressed;
        if chosen_messages = 0 then
            drop table pg_temp.messages_to_compress;
            return 0;
        end if;
    end loop;

    -- Small blocks of the same months are written anew together with them, and those of which much was taken out.
    perform unpack_events(
        events,
        array(
            select blocks.block_id
            from compressed_events as blocks
            inner join (select distinct workspace_id, sent_month from pg_temp.rows_of_blocks) as months
                on blocks.workspace_id = months.workspace_id and blocks.sent_month = months.sent_month
            where blocks.target = warehouse and (blocks.row_count < 1000 or cardinality(blocks.taken_message_ids) > 100)
        )
    );
    analyze pg_temp.rows_of_blocks (workspace_id, sent_month, message_id);
    perform pack_events(warehouse, events);
    drop table pg_temp.rows_of_blocks;
    return compressed;
end
$$;

-- For retention: takes out the messages of some blocks that have an event from before `until`, so that app.close_messages() finds
-- them. Returns the rows; 0 if nothing is left; null while a build runs.
create function app.take_out_old_events(warehouse text, events regclass, until timestamptz, max_blocks int)
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    old_batch_id bigint;
    block_ids bigint[];
    taken bigint;
begin
    if not hold_off_builds(warehouse) then
        return null;
    end if;
    old_batch_id := coalesce((last_build_before(warehouse, until)).batch_id, 0);
    block_ids := array(
        select block_id from compressed_events
        where target = warehouse and (oldest_loaded_at < until or oldest_valid_from <= old_batch_id)
        order by block_id
        limit max_blocks
    );
    if block_ids = '{}' then
        return 0;
    end if;
    perform add_columns_of_blocks('app.compressed_events', events);
    taken := take_out_events(
        warehouse,
        events,
        format(
            'select workspace_id, message_id from (%s) as events where loaded_at < %L or valid_from <= %s',
            rows_in_blocks(events, format('blocks.block_id = any(%L::bigint[])', block_ids)),
            until,
            old_batch_id
        )
    );
    -- what is left is not old
    perform rewrite_blocks(warehouse, events, block_ids);
    -- blocks can be old without an event that is: those of messages that were taken out before
    return greatest(taken, 1);
end
$$;

-- For an erasure, before it changes core: takes out every message that it may change. The functions of migrations 0030, 0066 and 0111
-- then find its rows where they look for them, and blocks are written anew without them. Returns the rows.
create function app.take_out_recipient(person jsonb) returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    hashes constant text := (select string_agg(erased_spellings.old_hash, '|') from pg_temp.erased_spellings);
    other_domains constant text[] := array(
        select recipient_domain(erased_spellings.spelling) from pg_temp.erased_spellings
        where recipient_domain(erased_spellings.spelling) <> person ->> 'domain'
    );
    taken bigint := 0;
    entry record;
    texts text;
begin
    for entry in
        select distinct
            compressed_events.target,
            compressed_events.relation,
            to_regclass(compressed_events.relation) as events
        from compressed_events
    loop
        -- a developer's schema that was dropped
        if entry.events is null then
            delete from compressed_events where target = entry.target;
            continue;
        end if;
        perform add_columns_of_blocks('app.compressed_events', entry.events);
        select 'concat_ws('' '', ' || string_agg(format('%I', name), ', ') || ')' into texts
        from columns_to_compress(entry.events)
        where type_name = 'text' and name not in ('campaign_id', 'mailbox_id', 'domain_id');
        taken := taken + take_out_events(
            entry.target,
            entry.events,
            format(
                $mentioned$
                select workspace_id, message_id
                from (%1$s) as events
                where
                    recipient_hash in (select old_hash from pg_temp.erased_spellings)
                    or (workspace_id, message_id) in (select workspace_id, message_id from pg_temp.erased_messages)
                    or recipient_domain = any(%2$L)
                    or %3$s ~ %4$L
                    or (app.may_be_mentioned(%3$s, %5$L) and app.is_mentioned(%3$s, %5$L))
                $mentioned$,
                rows_in_blocks(
                    entry.events,
                    format(
                        'blocks.target = %L and (%L is null or blocks.workspace_id = %2$L)',
                        entry.target,
                        person ->> 'workspace'
                    )
                ),
                other_domains, texts, hashes, person
            )
        );
        -- so that nothing of them is left, nor of messages that were taken out before
        perform rewrite_blocks(
            entry.target,
            entry.events,
            array(
                select block_id from compressed_events
                where
                    target = entry.target
                    and taken_message_ids <> '{}'
                    and (person ->> 'workspace' is null or workspace_id = person ->> 'workspace')
            )
        );
    end loop;
    return taken;
end
$$;

-- See migration 0116. An event of the recipient can be in a block, and its message is not known here.
create or replace function app.bounce_reason_of(of_workspace_id text, of_event_id text) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    reason text;
begin
    select known_events.bounce_reason into reason from core.fct_email_events as known_events
    where
        known_events.workspace_id = of_workspace_id
        and known_events.event_id = of_event_id
        and known_events.valid_to = 9223372036854775807;
    if not found and exists (select from app.compressed_events where workspace_id = of_workspace_id and target = 'production') then
        execute
            'select blocks.bounce_reason[array_position(blocks.event_id, $2)] from app.compressed_events as blocks'
            || ' where blocks.workspace_id = $1 and blocks.target = ''production'' and $2 = any(blocks.event_id)'
            into reason
            using of_workspace_id, of_event_id;
    end if;
    return reason;
end
$$;

-- See migration 0118. A table all of whose rows are compressed is not a new one.
create or replace function app.record_core_version(
    of_batch_id bigint, current_version int, recomputes boolean, first_table regclass
)
returns int
language plpgsql
set search_path = app, pg_temp
as $$
declare
    computes_all boolean := recomputes;
    recorded int;
begin
    if not computes_all and first_table is not null then
        execute format('select not exists (select 1 from %s)', first_table) into computes_all;
        computes_all := computes_all and not exists (
            select from compressed_events
            inner join batches using (target)
            where batches.batch_id = of_batch_id
        );
    end if;
    update batches
    set core_version = case
        when computes_all or first_table is null then current_version
        else (
            -- without a publication: the first build has written the oldest rows
            select earlier.core_version
            from batches as earlier
            where earlier.target = batches.target and earlier.batch_id < batches.batch_id
            order by
                earlier.status = 'published' desc,
                case when earlier.status = 'published' then earlier.batch_id end desc,
                earlier.batch_id
            limit 1
        )
    end
    where batch_id = of_batch_id
    returning core_version into recorded;
    return recorded;
end
$$;

revoke execute on function app.names_of_columns(regclass) from public;
revoke execute on function app.rows_in_blocks(regclass, text) from public;
revoke execute on function app.rewrite_blocks(text, regclass, bigint[]) from public;
revoke execute on function app.begin_rows_of_blocks(regclass) from public;
revoke execute on function app.unpack_events(regclass, bigint[]) from public;
revoke execute on function app.pack_events(text, regclass) from public;
revoke execute on function app.qualified_name(regclass) from public;
revoke execute on function app.put_back_events(regclass) from public;
revoke execute on function app.take_out_events(text, regclass, text) from public;
revoke execute on function app.messages_of_events(regclass) from public;
revoke execute on function app.make_view_of_all_events(regclass) from public;
revoke execute on function app.list_messages_to_compress(text, regclass, timestamptz) from public;
revoke execute on function app.can_be_compressed(text, timestamptz) from public;
revoke execute on function app.compress_events(text, regclass, timestamptz, int) from public;
revoke execute on function app.take_out_old_events(text, regclass, timestamptz, int) from public;
revoke execute on function app.take_out_recipient(jsonb) from public;

reset role;
