-- depends: 0122_compressed_rows

-- Old rows of raw.email_events as blocks (MAILMART_COMPRESS_AFTER). A row is in the log or in a block, and has the same values in both,
-- loaded_xid included: so a build reads it once, whether it is compressed before or after.
set local role mailmart_owner;

create table app.compressed_raw_events (
    block_id bigint generated always as identity primary key,
    workspace_id text,
    row_count integer not null,
    oldest_loaded_at timestamptz not null,
    newest_loaded_at timestamptz not null,
    oldest_loaded_xid xid8 not null,
    newest_loaded_xid xid8 not null,
    recipient_hash_bytes bytea[]
);

alter table app.compressed_raw_events alter column recipient_hash_bytes set statistics 0;

-- The view has the columns of the log in their order: a union of both with * would exchange ids otherwise.
create function app.make_view_of_raw_blocks()
returns void
language plpgsql
set search_path = app, pg_temp
as $$
declare
    columns_of_log constant text := (
        select string_agg(quote_ident(attname), ', ' order by attnum)
        from pg_attribute
        where attrelid = 'raw.email_events'::regclass and attnum > 0 and not attisdropped
    );
begin
    execute format(
        'create or replace view raw.compressed_email_events as select %s from (%s) as unpacked_rows',
        columns_of_log, unpacked_rows('app.compressed_raw_events', 'raw.email_events')
    );
end
$$;

-- not a select, whose result would be printed
do $$
begin
    perform app.add_columns_of_blocks('app.compressed_raw_events', 'raw.email_events');
    perform app.make_view_of_raw_blocks();
end
$$;

-- by which the planner knows how many rows a block has
alter table app.compressed_raw_events alter column loaded_at set statistics -1;
-- almost everything of a block is beside the table (TOAST), so the planner takes it for too small to be read by several processes
alter table app.compressed_raw_events set (parallel_workers = 4);

create index compressed_raw_events_newest_loaded_xid on app.compressed_raw_events (newest_loaded_xid);

comment on table app.compressed_raw_events is
'Old rows of raw.email_events, compressed. Grain: up to 1,000 rows of a workspace. raw.compressed_email_events shows the rows.';
comment on column app.compressed_raw_events.workspace_id is 'The workspace of all rows of the block, or null.';
comment on column app.compressed_raw_events.newest_loaded_xid is
'A build has read all rows of the block if its last state of the raw log has all transactions up to this one.';
comment on column app.compressed_raw_events.recipient_hash_bytes is
'recipient_hash as bytes, if each one of the block is hexadecimal; else they are in recipient_hash. The other columns are those of'
' raw.email_events, as arrays; one without a value is null.';

comment on view raw.compressed_email_events is
'The compressed rows of raw.email_events (app.compressed_raw_events). It unpacks all of them. Grain: one loaded copy of an event.';

-- An operator can have added columns to the log since.
create function app.add_columns_of_raw_blocks()
returns void
language plpgsql
set search_path = app, pg_temp
as $$
begin
    if exists (
        select from columns_to_compress('raw.email_events') as logged
        where logged.name not in (select stored.name from columns_to_compress('raw.compressed_email_events') as stored)
    ) then
        perform add_columns_of_blocks('app.compressed_raw_events', 'raw.email_events');
        perform make_view_of_raw_blocks();
    end if;
end
$$;

-- Whether a block has a row that is not in a state of the raw logs.
create function app.has_new_compressed_events(since pg_snapshot)
returns boolean
language sql stable parallel safe
set search_path = app, pg_temp
begin atomic
    select exists (
        select from app.compressed_raw_events as blocks
        where
            blocks.newest_loaded_xid >= pg_snapshot_xmin(since)
            and exists (
                select from unnest(blocks.loaded_xid) as logged (loaded_xid)
                where not pg_visible_in_snapshot(logged.loaded_xid, since)
            )
    );
end;

-- The log is named in a text, here and below, not in a parsed body: an operator who partitions it puts another table in its place.
-- The INSERT that makes blocks of the rows of a CTE. It has the columns of the log, `block`, which is another number for each block of a
-- workspace, and `place`, the order in the block.
create function app.packing_of_raw_events(source text)
returns text
language sql stable
set search_path = app, pg_temp
as $$
    select format(
        'insert into app.compressed_raw_events ('
        || 'workspace_id, row_count, oldest_loaded_at, newest_loaded_at, oldest_loaded_xid, newest_loaded_xid, %s) '
        || 'select workspace_id, count(*), min(loaded_at), max(loaded_at), min(loaded_xid), max(loaded_xid), %s '
        || 'from %s group by workspace_id, block returning row_count',
        names_of_arrays('raw.email_events'),
        packed_columns('raw.email_events', 'place'),
        source
    );
$$;

-- An expression for the octets of a row of the log, more or less. That of an array is of its stored form, which can be compressed.
create function app.octets_of_raw_event()
returns text
language sql stable
set search_path = app, pg_temp
as $$
    select string_agg(
        format(
            case when type_name = 'text' then 'coalesce(octet_length(%I), 0)' else 'coalesce(pg_column_size(%I), 0) * %s' end,
            name, case when is_array then 10 else 1 end
        ),
        ' + '
    )
    from app.columns_to_compress('raw.email_events');
$$;

-- Compresses the oldest rows of the log: of at most max_rows that were loaded before `until` and that the served publication has taken
-- up, those of each workspace that has enough of them for a block. Returns how many, and the place where the next call goes on; null at
-- the end. Both are null while a build runs. Rows with a later loaded_at count as loaded when a build read them (migration 0027).
-- What stays: a row of more than 20,000 octets, which PostgreSQL compresses by itself, and 1,000 of which could be too much for an array;
-- and a few rows of a workspace, of which a block is not smaller. A hypertable has its columnstore.
create function app.compress_raw_events(
    warehouse text, until timestamptz, max_rows int, place text default null, out compressed bigint, out next_place text
)
language plpgsql
set search_path = app, pg_temp
as $$
declare
    rows_of_block constant int := 1000;
    least_rows_of_block constant int := 20;
    octets_of_row constant int := 20000;
    started_at constant jsonb := place::jsonb;
    states pg_snapshot[];
    old_build batches;
    step record;
    since timestamptz;
    newest timestamptz;
begin
    if not hold_off_builds(warehouse) then
        return;
    end if;
    compressed := 0;
    states := published_raw_states(warehouse);
    if states is null or is_hypertable('raw.email_events') then
        return;
    end if;
    old_build := last_build_before(warehouse, until);
    perform add_columns_of_raw_blocks();
    for step in
        select
            leaves.relation,
            passes.is_late
        from leaf_tables('raw.email_events') as leaves (relation)
        cross join unnest(array[false, true]) as passes (is_late)
        where
            (not passes.is_late or old_build.batch_id is not null)
            and (
                started_at is null
                or (leaves.relation::oid::bigint, passes.is_late)
                >= ((started_at ->> 'leaf')::bigint, (started_at ->> 'is_late')::boolean)
            )
        order by leaves.relation::oid::bigint, passes.is_late
    loop
        since := case
            when
                (step.relation::oid::bigint, step.is_late)
                = ((started_at ->> 'leaf')::bigint, (started_at ->> 'is_late')::boolean)
                then (started_at ->> 'since')::timestamptz
            when step.is_late then until
            else '-infinity'
        end;
        execute format(
            $statement$
            with old_rows as materialized (
                select
                    ctid as place,
                    workspace_id,
                    loaded_at
                from only %1$s
                where
                    loaded_at >= %2$L
                    and %3$s
                    and not exists (
                        select from unnest($1) as states (state)
                        where not pg_visible_in_snapshot(loaded_xid, states.state)
                    )
                    and %4$s <= %5$s
                order by loaded_at
                limit %6$s
            ),

            counted_rows as (
                select
                    place,
                    count(*) over (partition by workspace_id) as rows_of_workspace
                from old_rows
            ),

            removed_rows as (
                delete from only %1$s
                where ctid = any(array(select place from counted_rows where rows_of_workspace >= %7$s))
                returning *
            ),

            numbered_rows as (
                select
                    removed_rows.*,
                    count(*) over (partition by workspace_id) as rows_of_workspace,
                    row_number() over (partition by workspace_id order by loaded_at) as number
                from removed_rows
            ),

            -- blocks of one size
            rows_of_blocks as (
                select
                    numbered_rows.*,
                    (number - 1) * ((rows_of_workspace + %8$s - 1) / %8$s) / rows_of_workspace as block
                from numbered_rows
            ),

            placed_rows as (
                select
                    rows_of_blocks.*,
                    row_number() over (partition by workspace_id, block order by message_id, occurred_at) as place
                from rows_of_blocks
            ),

            blocks as (
                %9$s
            )

            select
                coalesce((select sum(row_count) from blocks), 0),
                (select max(loaded_at) from old_rows)
            $statement$,
            step.relation,
            since,
            case
                when step.is_late then format('loaded_xid < %L', pg_snapshot_xmax(old_build.raw_snapshot))
                else format('loaded_at < %L', until)
            end,
            octets_of_raw_event(),
            octets_of_row,
            max_rows,
            least_rows_of_block,
            rows_of_block,
            packing_of_raw_events('placed_rows')
        )
        into compressed, newest
        using case when step.is_late then states || old_build.raw_snapshot else states end;
        continue when newest is null or (compressed = 0 and newest = 'infinity');
        -- rows that stay must not stop it
        next_place := jsonb_build_object(
            'leaf', step.relation::oid::bigint,
            'is_late', step.is_late,
            'since', case
                when compressed > 0 then newest
                when newest = '-infinity' then '4714-11-24 00:00:00+00 BC'
                else newest + interval '1 microsecond'
            end
        );
        return;
    end loop;
end
$$;

-- Removes the rows of blocks that app.remove_raw_rows() would remove from the log, of at most max_blocks blocks. What is left of a block
-- is packed again. Returns the removed rows; null if a build is running.
create function app.remove_compressed_raw_rows(warehouse text, until timestamptz, max_blocks int)
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    -- $1: the states, $2: until, $3: that of the old build
    is_removable constant text :=
        '(logged.loaded_at < $2 or coalesce(pg_visible_in_snapshot(logged.loaded_xid, $3), false))'
        || ' and not exists ('
        || 'select from unnest($1) as states (state) where not pg_visible_in_snapshot(logged.loaded_xid, states.state))';
    states pg_snapshot[];
    old_build batches;
    old_blocks bigint[];
    removed bigint;
begin
    if not hold_off_builds(warehouse) then
        return null;
    end if;
    states := published_raw_states(warehouse);
    if states is null then
        return 0;
    end if;
    old_build := last_build_before(warehouse, until);
    execute format(
        $statement$
        select array(
            select blocks.block_id from app.compressed_raw_events as blocks
            where
                (blocks.oldest_loaded_at < $2 or blocks.oldest_loaded_xid < pg_snapshot_xmax($3))
                and exists (
                    select from unnest(blocks.loaded_at, blocks.loaded_xid) as logged (loaded_at, loaded_xid)
                    where %s
                )
            order by blocks.oldest_loaded_at, blocks.block_id
            limit %s
        )
        $statement$,
        is_removable, max_blocks
    )
    into old_blocks using states, until, old_build.raw_snapshot;
    if cardinality(old_blocks) = 0 then
        return 0;
    end if;
    execute format(
        $statement$
        with logged as (
            %s
        ),

        placed_rows as (
            select
                logged.*,
                row_number() over (partition by block order by message_id, occurred_at) as place
            from logged
            where not (%s)
        ),

        removed_blocks as (
            delete from app.compressed_raw_events
            where block_id = any($4)
            returning row_count
        ),

        kept_blocks as (
            %s
        )

        select (select sum(row_count) from removed_blocks) - coalesce((select sum(row_count) from kept_blocks), 0)
        $statement$,
        unpacked_rows(
            'app.compressed_raw_events', 'raw.email_events', 'blocks.block_id = any($4)', ', blocks.block_id as block'
        ),
        is_removable,
        packing_of_raw_events('placed_rows')
    )
    into removed using states, until, old_build.raw_snapshot, old_blocks;
    perform count_removed_rows(warehouse, 'email_events', removed);
    return removed;
end
$$;

-- See migration 0121. New: rows in blocks.
create or replace function app.adopt_restored_rows()
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    next_xid constant xid8 := pg_snapshot_xmax(pg_current_snapshot());
    raw_log regclass;
    adopted bigint;
    total bigint := 0;
begin
    if exists (
        select from batches
        where
            batches.system_identifier = system_identifier()
            and pg_snapshot_xmax(batches.raw_snapshot) > next_xid
    ) then
        update batches
        set system_identifier = null
        where batches.system_identifier = system_identifier();
    end if;
    for raw_log in select raw_logs() loop
        execute format(
            'update %s set loaded_xid = pg_current_xact_id() where loaded_xid >= $1', raw_log
        ) using next_xid;
        get diagnostics adopted = row_count;
        total := total + adopted;
    end loop;
    if exists (select from compressed_raw_events where newest_loaded_xid >= next_xid) then
        select total + count(*) into total
        from compressed_raw_events as blocks
        cross join lateral unnest(blocks.loaded_xid) as logged (loaded_xid)
        where blocks.newest_loaded_xid >= next_xid and logged.loaded_xid >= next_xid;
        update compressed_raw_events as blocks
        set
            loaded_xid = array(
                select case when logged.loaded_xid >= next_xid then pg_current_xact_id() else logged.loaded_xid end
                from unnest(blocks.loaded_xid) with ordinality as logged (loaded_xid, place)
                order by logged.place
            ),
            oldest_loaded_xid = case
                when blocks.oldest_loaded_xid >= next_xid then pg_current_xact_id() else blocks.oldest_loaded_xid
            end,
            newest_loaded_xid = pg_current_xact_id()
        where blocks.newest_loaded_xid >= next_xid;
    end if;
    return total;
end
$$;

-- See migration 0029. New: of blocks, the rows in them are counted.
create or replace function app.erase_workspace(erased_workspace_id text, is_counting boolean)
returns table (relation text, row_count bigint)
language plpgsql
set search_path = app, pg_temp
as $$
declare
    id_in_core constant text :=
        case when octet_length(erased_workspace_id) > 400 then md5(erased_workspace_id) else erased_workspace_id end;
    entry record;
    counted text;
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
        counted := case when entry.name::text like 'compressed\_%' then 'row_count' else '1' end;
        if is_counting then
            execute format('select coalesce(sum(%s), 0) from %s where %s', counted, entry.name, entry.condition)
            into row_count using erased_workspace_id, id_in_core;
        else
            execute format(
                'with erased as (delete from %s where %s returning %s as counted) select coalesce(sum(counted), 0) from erased',
                entry.name, entry.condition, counted
            ) into row_count using erased_workspace_id, id_in_core;
        end if;
        -- with its schema: the table is vacuumed after the erasure
        relation := case when counted = 'row_count' then 'app.' else '' end || entry.name::text;
        return next;
    end loop;
end
$$;

-- See migration 0116. New: the views of native events are left out. The texts are of webhooks, and blocks would be unpacked.
create or replace function app.erase_recipient_from_payloads(person jsonb) returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    bodies bigint;
begin
    create temporary table erased_bodies on commit drop as
    select
        payloads.payload_id,
        payloads.workspace_id,
        payloads.loaded_at,
        payloads.loaded_xid,
        -- such a body is never read, and cannot be searched
        contents.content is null or jsonb_path_exists(payloads.payload, 'strict $.**{100}') as is_unreadable
    from raw.webhook_payloads as payloads
    cross join lateral unnest(array[text_of_body(payloads.payload)]) as contents (content)
    where
        (person ->> 'workspace' is null or payloads.workspace_id = person ->> 'workspace')
        and (
            contents.content is null
            or (may_be_mentioned(contents.content, person) and is_mentioned(contents.content, person))
            or contents.content ~ (select string_agg(erased_spellings.old_hash, '|') from pg_temp.erased_spellings)
        );
    analyze pg_temp.erased_bodies;

    insert into pg_temp.erased_texts (loaded_at, smtp_status, diagnostic, replacement)
    select distinct
        events.loaded_at,
        events.smtp_status,
        events.diagnostic,
        case
            when reasons.bounce_reason is not null or is_built(events.loaded_xid)
                then erased_bounce_text(events.smtp_status, events.smtp_code, reasons.bounce_reason)
        end
    from staging.int_loaded_events as events
    cross join lateral (select bounce_reason_of(events.workspace_id, events.event_id) as bounce_reason offset 0) as reasons
    where
        events.provider <> 'native'
        and events.event_type = 'bounced'
        and events.diagnostic <> ''
        and events.loaded_xid = any(array(select distinct erased_bodies.loaded_xid from pg_temp.erased_bodies))
        and events.loaded_at = any(array(select erased_bodies.loaded_at from pg_temp.erased_bodies));
    analyze pg_temp.erased_texts;

    update raw.webhook_payloads as payloads
    set
        payload = case
            when erased_bodies.is_unreadable then '"[erased]"'
            else redact_json(payloads.payload, person, '', false, null, payloads.loaded_at)
        end
    from pg_temp.erased_bodies
    where payloads.payload_id = erased_bodies.payload_id;
    get diagnostics bodies = row_count;

    insert into pg_temp.touched_workspaces
    select erased_bodies.workspace_id from pg_temp.erased_bodies
    where erased_bodies.workspace_id is not null
    on conflict do nothing;
    drop table pg_temp.erased_bodies;
    return bodies;
end
$$;

-- The person's rows of a table with the columns of the log: raw.email_events, or what was unpacked of blocks. What is looked for was
-- collected by app.erase_recipient_from_events(). Returns the changed rows.
create function app.erase_recipient_from_log(person jsonb, log_name text) returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    in_workspace constant text := person ->> 'workspace';
    hashes text;
    events bigint;
    others bigint;
begin
    execute format(
        $statement$
        with erased as (
            update %s as email_events
            set
                event_id = pseudonymize(event_id, $1),
                message_id = pseudonymize(message_id, $1),
                recipient_hash = coalesce(
                    (
                        select erased_values.new_hash from pg_temp.erased_values
                        where erased_values.recipient_hash = email_events.recipient_hash
                    ),
                    recipient_hash
                ),
                recipient_domain = substring(recipient_domain from '[^@]*$'),
                diagnostic = case
                    when event_type = 'bounced' and diagnostic <> ''
                        then erased_bounce_text(
                            left(smtp_status, 100),
                            smtp_code,
                            bounce_reason_of(email_events.workspace_id, email_events.event_id)
                        )
                end,
                url = null,
                user_agent = null
            where
                ($2 is null or workspace_id = $2)
                and (
                    recipient_hash in (select erased_values.recipient_hash from pg_temp.erased_values)
                    or (
                        recipient_hash is null
                        and (workspace_id, message_id) in (select erased_messages.* from pg_temp.erased_messages)
                    )
                )
            returning workspace_id
        ),

        workspaces as (
            insert into pg_temp.touched_workspaces
            select distinct erased.workspace_id from erased
            where erased.workspace_id is not null
            on conflict do nothing
        )

        select count(*) from erased
        $statement$,
        log_name
    )
    into events using person, in_workspace;

    select string_agg(erased_spellings.old_hash, '|') into hashes from pg_temp.erased_spellings;
    execute format(
        $statement$
        update %s
        set
            event_id = pseudonymize(event_id, $1),
            message_id = pseudonymize(message_id, $1),
            recipient_domain = pseudonymize(recipient_domain, $1),
            diagnostic = pseudonymize(diagnostic, $1),
            url = pseudonymize(url, $1),
            user_agent = pseudonymize(user_agent, $1),
            sequence_id = pseudonymize(sequence_id, $1),
            step = pseudonymize(step, $1),
            variant = pseudonymize(variant, $1),
            tags = case
                when tags is not null
                    then array(
                        select pseudonymize(tag.value, $1) from unnest(tags) with ordinality as tag (value, place)
                        order by tag.place
                    )
            end
        where
            ($2 is null or workspace_id = $2)
            and (
                message_id ~ $3
                or (
                    may_be_mentioned(
                        concat_ws(
                            ' ', event_id, message_id, recipient_domain, diagnostic, url, user_agent, sequence_id, step, variant,
                            array_to_string(tags, ' ')
                        ),
                        $1
                    )
                    and is_mentioned(
                        concat_ws(
                            ' ', event_id, message_id, recipient_domain, diagnostic, url, user_agent, sequence_id, step, variant,
                            array_to_string(tags, ' ')
                        ),
                        $1
                    )
                )
            )
        $statement$,
        log_name
    )
    using person, in_workspace, hashes;
    get diagnostics others = row_count;
    return events + others;
end
$$;

-- See migration 0116. New: the spellings and messages of rows in blocks. In all of them before the first row is changed, because a
-- message can be in both.
create or replace function app.erase_recipient_from_events(person jsonb) returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    in_workspace constant text := person ->> 'workspace';
begin
    -- other systems can write an address in place of a hash
    perform erased_address(spellings.recipient_hash, person)
    from (
        select email_events.recipient_hash from raw.email_events
        where
            (in_workspace is null or email_events.workspace_id = in_workspace)
            and email_events.recipient_hash like '%@%'
            and is_mentioned(email_events.recipient_hash, person)
        union
        select logged.recipient_hash
        from compressed_raw_events as blocks
        cross join lateral unnest(blocks.recipient_hash) as logged (recipient_hash)
        where
            (in_workspace is null or blocks.workspace_id = in_workspace)
            and logged.recipient_hash like '%@%'
            and is_mentioned(logged.recipient_hash, person)
    ) as spellings;

    create temporary table erased_values (recipient_hash text primary key, new_hash text) on commit drop;
    insert into pg_temp.erased_values
    select erased_spellings.old_hash, erased_spellings.new_hash from pg_temp.erased_spellings
    union all
    select written.recipient_hash, erased_spellings.new_hash
    from (
        select email_events.recipient_hash from raw.email_events
        where email_events.recipient_hash like '%@%'
        union
        select logged.recipient_hash
        from compressed_raw_events as blocks
        cross join lateral unnest(blocks.recipient_hash) as logged (recipient_hash)
        where logged.recipient_hash like '%@%'
    ) as written
    inner join pg_temp.erased_spellings on bare_address(left(written.recipient_hash, 4000)) = erased_spellings.spelling;

    create temporary table rows_of_recipient on commit drop as
    select
        blocks.workspace_id,
        logged.message_id,
        logged.event_type,
        logged.diagnostic,
        logged.loaded_xid
    from compressed_raw_events as blocks
    cross join lateral unnest(
        blocks.message_id, blocks.event_type, blocks.diagnostic, blocks.loaded_xid, blocks.recipient_hash, blocks.recipient_hash_bytes
    ) as logged (message_id, event_type, diagnostic, loaded_xid, hash_as_text, hash_as_bytes)
    inner join pg_temp.erased_values
        on coalesce(encode(logged.hash_as_bytes, 'hex'), logged.hash_as_text) = erased_values.recipient_hash
    where
        (in_workspace is null or blocks.workspace_id = in_workspace)
        and has_erased_hash(blocks.recipient_hash, blocks.recipient_hash_bytes);

    insert into pg_temp.erased_messages
    select email_events.workspace_id, email_events.message_id
    from raw.email_events
    inner join pg_temp.erased_values using (recipient_hash)
    where
        email_events.workspace_id is not null
        and email_events.message_id is not null
        and (in_workspace is null or email_events.workspace_id = in_workspace)
    union
    select rows_of_recipient.workspace_id, rows_of_recipient.message_id
    from pg_temp.rows_of_recipient
    where rows_of_recipient.workspace_id is not null and rows_of_recipient.message_id is not null
    on conflict do nothing;
    analyze pg_temp.erased_messages;

    if exists (
        select from raw.email_events
        inner join pg_temp.erased_values using (recipient_hash)
        where
            (in_workspace is null or email_events.workspace_id = in_workspace)
            and email_events.event_type = 'bounced'
            and email_events.diagnostic <> ''
            and not is_built(email_events.loaded_xid)
        union all
        select from pg_temp.rows_of_recipient
        where
            rows_of_recipient.event_type = 'bounced'
            and rows_of_recipient.diagnostic <> ''
            and not is_built(rows_of_recipient.loaded_xid)
    ) then
        raise exception 'a bounce of the recipient was not built yet' using errcode = 'MM004';
    end if;
    drop table pg_temp.rows_of_recipient;
    return erase_recipient_from_log(person, 'raw.email_events');
end
$$;

-- Whether a block has one of the hashes of the erasure.
create function app.has_erased_hash(texts text[], hashes bytea[]) returns boolean
language plpgsql stable
set search_path = app, pg_temp
as $$
begin
    return coalesce(texts && array(select erased_values.recipient_hash from pg_temp.erased_values), false)
        or coalesce(
            hashes && array(
                select decode(erased_values.recipient_hash, 'hex') from pg_temp.erased_values
                where erased_values.recipient_hash ~ '^([0-9a-f]{2})+$'
            ),
            false
        );
end
$$;

-- The person's rows in blocks, after app.erase_recipient_from_events(). Blocks that may have one are unpacked, changed by what changes the
-- log, and packed again. The other values of the rows stay as they are: no build sees a difference. Returns the changed rows.
create function app.erase_recipient_from_compressed_events(person jsonb) returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    in_workspace constant text := person ->> 'workspace';
    hashes constant text := (select string_agg(erased_spellings.old_hash, '|') from pg_temp.erased_spellings);
    found_blocks bigint[];
    events bigint;
begin
    -- what is found in a row is found in the texts of its block
    select array_agg(blocks.block_id) into found_blocks
    from compressed_raw_events as blocks
    cross join lateral (
        select
            concat_ws(
                ' ',
                array_to_string(blocks.event_id, ' '),
                array_to_string(blocks.message_id, ' '),
                array_to_string(blocks.recipient_domain, ' '),
                array_to_string(blocks.diagnostic, ' '),
                array_to_string(blocks.url, ' '),
                array_to_string(blocks.user_agent, ' '),
                array_to_string(blocks.sequence_id, ' '),
                array_to_string(blocks.step, ' '),
                array_to_string(blocks.variant, ' '),
                array_to_string(blocks.tags, ' ')
            ) as content
        offset 0
    ) as texts
    where
        (in_workspace is null or blocks.workspace_id = in_workspace)
        and (
            has_erased_hash(blocks.recipient_hash, blocks.recipient_hash_bytes)
            or blocks.message_id && array(
                select erased_messages.message_id from pg_temp.erased_messages
                where erased_messages.workspace_id = blocks.workspace_id
            )
            or array_to_string(blocks.message_id, ' ') ~ hashes
            or (may_be_mentioned(texts.content, person) and is_mentioned(texts.content, person))
        );
    if found_blocks is null then
        return 0;
    end if;
    execute format(
        'create temporary table unpacked_events on commit drop as %s',
        unpacked_rows(
            'compressed_raw_events',
            'raw.email_events',
            format('blocks.block_id = any(%L::bigint[])', found_blocks),
            ', blocks.block_id as block'
        )
    );
    events := erase_recipient_from_log(person, 'pg_temp.unpacked_events');
    if events > 0 then
        delete from compressed_raw_events where block_id = any(found_blocks);
        execute format(
            $statement$
            with placed_rows as (
                select
                    unpacked_events.*,
                    row_number() over (partition by block order by message_id, occurred_at) as place
                from pg_temp.unpacked_events
            )

            %s
            $statement$,
            packing_of_raw_events('placed_rows')
        );
    end if;
    drop table pg_temp.unpacked_events;
    return events;
end
$$;

-- See migration 0030. New: a hash is a text. Blocks of rows have arrays of that name.
create or replace function app.erase_recipient_from_app(person jsonb)
returns table (relation text, row_count bigint)
language plpgsql
set search_path = app, pg_temp
as $$
declare
    in_workspace constant text := person ->> 'workspace';
    entry record;
begin
    -- a report is no longer sent to the address
    update reports
    set
        recipients = remaining.recipients,
        is_enabled = reports.is_enabled and remaining.has_receiver,
        next_run_at = case when remaining.has_receiver then reports.next_run_at end
    from (
        select
            reports.report_id,
            others.recipients,
            cardinality(others.recipients) > 0 or reports.webhook_url is not null as has_receiver
        from reports
        cross join lateral (
            select
                array(
                    select listed.recipient
                    from unnest(reports.recipients) with ordinality as listed (recipient, ordinal)
                    where not is_mentioned(listed.recipient, person)
                    order by listed.ordinal
                ) as recipients
        ) as others
        where
            (in_workspace is null or reports.workspace_id = in_workspace)
            and is_mentioned(array_to_string(reports.recipients, ' '), person)
    ) as remaining
    where reports.report_id = remaining.report_id;
    get diagnostics row_count = row_count;
    relation := 'app.reports';
    return next;

    relation := 'procrastinate jobs';
    row_count := erase_jobs(
        array(
            select jsonb_build_object('run_id', deliveries.run_id, 'target', deliveries.target)
            from report_deliveries as deliveries
            where
                deliveries.channel = 'email'
                and (in_workspace is null or deliveries.workspace_id = in_workspace)
                and is_mentioned(deliveries.target, person)
        ),
        false
    );
    return next;

    create temporary table erased_runs on commit drop as
    select distinct deliveries.run_id from report_deliveries as deliveries
    where
        deliveries.channel = 'email'
        and (in_workspace is null or deliveries.workspace_id = in_workspace)
        and is_mentioned(deliveries.target, person);
    update report_deliveries as deliveries
    set
        target = erased_address(deliveries.target, person),
        status = case deliveries.status when 'pending' then 'failed' else deliveries.status end,
        ended_at = coalesce(deliveries.ended_at, clock_timestamp()),
        error = case deliveries.status when 'pending' then 'The recipient was erased' else deliveries.error end
    where
        deliveries.channel = 'email'
        and (in_workspace is null or deliveries.workspace_id = in_workspace)
        and is_mentioned(deliveries.target, person);
    get diagnostics row_count = row_count;
    update report_runs as runs
    set
        status = 'failed',
        error = coalesce(runs.error, 'Not delivered: the recipient was erased'),
        ended_at = clock_timestamp()
    where
        runs.run_id in (select erased_runs.run_id from pg_temp.erased_runs)
        and runs.status = 'delivering'
        and not exists (
            select from report_deliveries as pending
            where pending.run_id = runs.run_id and pending.status = 'pending'
        );
    drop table pg_temp.erased_runs;
    relation := 'app.report_deliveries';
    return next;

    -- tables of app that have a row for a person in a workspace
    for entry in
        select pg_class.oid::regclass as name
        from pg_class
        inner join pg_attribute on pg_class.oid = pg_attribute.attrelid
        where
            pg_class.relnamespace = 'app'::regnamespace
            and pg_class.relkind in ('r', 'p')
            and pg_attribute.attname = 'recipient_hash'
            and pg_attribute.atttypid = 'text'::regtype
            and not pg_attribute.attisdropped
            and pg_has_role(pg_class.relowner, 'usage')
    loop
        execute format(
            'delete from %s where ($1 is null or workspace_id = $1)'
            || ' and recipient_hash in (select old_hash from pg_temp.erased_spellings)',
            entry.name
        ) using in_workspace;
        get diagnostics row_count = row_count;
        relation := entry.name::text;
        return next;
    end loop;

    -- texts that people or builds wrote
    for entry in
        select * from (
            values
            ('app.exports', 'idempotency_key', 'text', true),
            ('app.exports', 'request', 'jsonb', true),
            ('app.exports', 'resolved', 'jsonb', true),
            ('app.exports', 'error', 'text', true),
            ('app.reports', 'name', 'text', true),
            ('app.reports', 'request', 'jsonb', true),
            ('app.report_runs', 'error', 'text', true),
            ('app.report_deliveries', 'error', 'text', true),
            ('app.api_keys', 'name', 'text', true),
            ('app.batches', 'failure_summary', 'text', false),
            ('app.nightly_runs', 'error', 'text', false)
        ) as columns (name, column_name, type_name, has_workspace)
    loop
        execute format(
            'update %1$s set %2$I = app.pseudonymize(%2$I::text, $1)::%3$s where %4$s'
            || ' and (app.is_mentioned(%2$I::text, $1)'
            || ' or %2$I::text ~ (select string_agg(old_hash, ''|'') from pg_temp.erased_spellings))',
            entry.name, entry.column_name, entry.type_name,
            case when entry.has_workspace then '($2 is null or workspace_id = $2)' else 'true' end
        ) using person, in_workspace;
        get diagnostics row_count = row_count;
        relation := entry.name;
        return next;
    end loop;
end
$$;

revoke execute on function app.make_view_of_raw_blocks() from public;
revoke execute on function app.add_columns_of_raw_blocks() from public;
revoke execute on function app.has_new_compressed_events(pg_snapshot) from public;
revoke execute on function app.packing_of_raw_events(text) from public;
revoke execute on function app.octets_of_raw_event() from public;
revoke execute on function app.compress_raw_events(text, timestamptz, int, text) from public;
revoke execute on function app.remove_compressed_raw_rows(text, timestamptz, int) from public;
revoke execute on function app.erase_recipient_from_log(jsonb, text) from public;
revoke execute on function app.has_erased_hash(text[], bytea[]) from public;
revoke execute on function app.erase_recipient_from_compressed_events(jsonb) from public;

reset role;
