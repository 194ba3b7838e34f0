-- What only a database has whose tables of core are distributed over the nodes of a Citus cluster. `mailmart migrate --citus` runs this
-- file, and each later `mailmart migrate` runs it again (api/db/citus.py), after the migrations. See decision 175.
--
-- The second part has variants of functions that migrations made, with the same result: Citus joins a table of the coordinator, or a
-- temporary one, with a table of core only as a materialized CTE, and has no ctid, no lateral outer join, no correlated subquery, no
-- volatile function in an update and no subquery without columns. tests/unit/warehouse/test_citus_functions.py fails if one of the
-- originals changes: change the variant alike, and write the new hash beside its name there.

-- 1. Distributing

-- DDL reaches the other nodes only where a function asks for it: most of what a migration or dbt creates is for the coordinator.
create or replace function app.propagate_ddl(is_on boolean)
returns void
language sql
set search_path = pg_catalog, pg_temp
begin atomic
    select set_config('citus.enable_ddl_propagation', case when is_on then 'on' else 'off' end, true);
end;

-- Makes a table of core distributed by workspace_id, colocated with all others; or a reference table, which each node has a copy of. With
-- its rows, indexes, policies and privileges. Does nothing if it is distributed already.
create or replace function app.distribute(relation regclass, is_reference boolean default false)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    is_there boolean;
begin
    execute 'select exists (select 1 from pg_dist_partition where logicalrelid = $1)' into is_there using relation;
    if is_there then
        return;
    end if;
    perform app.propagate_ddl(true);
    if is_reference then
        execute 'select create_reference_table($1)' using relation;
    else
        execute 'select create_distributed_table($1, ''workspace_id'', colocate_with => ''app.workspace_shards'')' using relation;
        -- rows were copied; those of the coordinator are only hidden
        execute 'select truncate_local_data_after_distributing_table($1)' using relation;
    end if;
    perform app.propagate_ddl(false);
end
$$;

-- For the policy of logins of one workspace. On a node, nothing says which login asks: Citus connects as the role. A setting would say
-- what the login likes it to say.
create or replace function app.refuse_workspace_analyst()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'a login of one workspace cannot read distributed tables'
        using errcode = 'insufficient_privilege', hint = 'Use the API or an export: see docs/how-to/operators/citus.md.';
end
$$;

-- The policies of a table with workspaces, as macros/security/row_level_security.sql makes them on Citus.
create or replace function app.isolate_tenants_on_nodes(relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    policy text;
begin
    for policy in select pg_policy.polname from pg_policy where pg_policy.polrelid = relation loop
        execute format('drop policy %I on %s', policy, relation);
    end loop;
    execute format('alter table %s enable row level security', relation);
    execute format(
        'create policy tenant_isolation on %s for select to mailmart_api, mailmart_worker'
        || ' using (workspace_id = nullif(current_setting(''mailmart.workspace_id'', true), ''''))',
        relation
    );
    execute format('create policy all_tenants on %s for select to mailmart_analyst using (true)', relation);
    execute format(
        'create policy analyst_workspace on %s for select to mailmart_workspace_analyst using (app.refuse_workspace_analyst())', relation
    );
end
$$;

-- Distributes a table that was built on one server.
create or replace function app.distribute_built_table(relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from pg_attribute where attrelid = relation and attname = 'workspace_id' and not attisdropped) then
        perform app.isolate_tenants_on_nodes(relation);
        perform app.distribute(relation);
    else
        perform app.distribute(relation, is_reference => true);
    end if;
end
$$;

-- What the API reads in place of a served view: its query, with a mark at each place that names the workspace. A query is one task of one
-- node if each table of it has a condition with the workspace as a literal (macros/platform/citus.sql).
create table if not exists app.served_queries (
    view_schema text not null,
    view_name text not null,
    query text not null,
    primary key (view_schema, view_name)
);

comment on table app.served_queries is 'On Citus, the queries of the served views. Grain: one view.';
grant select on app.served_queries to mailmart_api, mailmart_worker;

revoke execute on function app.propagate_ddl(boolean) from public;
revoke execute on function app.distribute(regclass, boolean) from public;
revoke execute on function app.isolate_tenants_on_nodes(regclass) from public;
revoke execute on function app.distribute_built_table(regclass) from public;
grant execute on function app.refuse_workspace_analyst() to mailmart_workspace_analyst;

-- 2. Variants

-- See migration 0037. The nodes join events under an alias with the events that teach it, and choose the message of each. Events that
-- have to move to another message come to the coordinator, in a temporary table, and it updates them on the nodes.
create or replace function app.assign_events_under_alias(events regclass, batch bigint, everything boolean) returns void
language plpgsql
set search_path = app, pg_temp
as $$
declare
    open_ended constant bigint := 9223372036854775807;
    few constant int := 10000;
    has_teaching boolean;
    old_events bigint;
    pending text;
    columns text;
begin
    execute format(
        'select exists (select 1 from %s where alias_message_id is not null and is_under_alias is null and valid_to = %s)',
        events, open_ended
    ) into has_teaching;
    if not has_teaching and not everything then
        return;
    end if;
    execute format(
        'select count(*) from (select 1 from %s where is_under_alias and valid_to = %s and valid_from < %s limit %s) as old_events',
        events, open_ended, batch, few + 1
    ) into old_events;
    pending := case
        when everything or old_events <= few
            then format('select * from %1$s where is_under_alias and valid_to = %2$s', events, open_ended)
        else
            format(
                $pending$
                select * from %1$s
                where is_under_alias and valid_to = %2$s and valid_from = %3$s
                union all
                select old_events.*
                from %1$s as old_events
                inner join (
                    select distinct
                        workspace_id,
                        alias_message_id
                    from %1$s
                    where valid_from = %3$s and alias_message_id is not null and is_under_alias is null and valid_to = %2$s
                ) as taught
                    on old_events.workspace_id = taught.workspace_id and old_events.alias_message_id = taught.alias_message_id
                where old_events.is_under_alias and old_events.valid_to = %2$s and old_events.valid_from < %3$s
                $pending$,
                events, open_ended, batch
            )
    end;

    drop table if exists pg_temp.moved_events;
    execute format(
        $moved$
        create temporary table moved_events on commit drop as
        select
            chosen.workspace_id,
            chosen.event_id,
            chosen.valid_from,
            coalesce(chosen.taught_message_id, chosen.alias_message_id) as message_id
        from (
            select distinct on (candidates.workspace_id, candidates.event_id, candidates.valid_from) candidates.*
            from (
                select
                    pending.workspace_id,
                    pending.event_id,
                    pending.valid_from,
                    pending.alias_message_id,
                    pending.message_id,
                    teaching.message_id as taught_message_id,
                    extract(epoch from pending.occurred_at - min(teaching.occurred_at)) as seconds_before
                from (%3$s) as pending
                left join (
                    select * from %1$s where is_under_alias is null and valid_to = %2$s and alias_message_id is not null
                ) as teaching
                    on
                        pending.workspace_id = teaching.workspace_id
                        and pending.alias_message_id = teaching.alias_message_id
                        and pending.provider = teaching.provider
                group by
                    pending.workspace_id, pending.event_id, pending.valid_from, pending.alias_message_id, pending.message_id,
                    pending.occurred_at, teaching.message_id
            ) as candidates
            order by
                candidates.workspace_id, candidates.event_id, candidates.valid_from,
                candidates.seconds_before < 0, abs(candidates.seconds_before), candidates.taught_message_id collate "C"
        ) as chosen
        where coalesce(chosen.taught_message_id, chosen.alias_message_id) <> chosen.message_id
        $moved$,
        events, open_ended, pending
    );
    analyze pg_temp.moved_events;
    if not exists (select from pg_temp.moved_events) then
        return;
    end if;

    execute format(
        'with moved_events as materialized (select * from pg_temp.moved_events)'
        || ' update %1$s as events set message_id = moved_events.message_id from moved_events'
        || ' where events.workspace_id = moved_events.workspace_id and events.event_id = moved_events.event_id'
        || ' and events.valid_to = %2$s and events.valid_from = %3$s',
        events, open_ended, batch
    );
    select string_agg(format('%I', attname), ', ' order by attnum) into columns
    from pg_attribute
    where attrelid = events and attnum > 0 and not attisdropped and attname not in ('message_id', 'valid_from', 'valid_to');
    drop table if exists pg_temp.expired_events;
    execute format(
        'create temporary table expired_events on commit drop as'
        || ' with moved_events as materialized (select * from pg_temp.moved_events)'
        || ' select events.*, moved_events.message_id as new_message_id from %1$s as events'
        || ' inner join moved_events on events.workspace_id = moved_events.workspace_id and events.event_id = moved_events.event_id'
        || ' where events.valid_to = %2$s and events.valid_from < %3$s',
        events, open_ended, batch
    );
    execute format(
        'with expired_events as materialized (select workspace_id, event_id from pg_temp.expired_events)'
        || ' update %1$s as events set valid_to = %3$s from expired_events'
        || ' where events.workspace_id = expired_events.workspace_id and events.event_id = expired_events.event_id'
        || ' and events.valid_to = %2$s and events.valid_from < %3$s',
        events, open_ended, batch
    );
    execute format(
        'insert into %1$s (%4$s, message_id, valid_from, valid_to)'
        || ' select %4$s, new_message_id, %3$s, %2$s from pg_temp.expired_events',
        events, open_ended, batch, columns
    );
    drop table pg_temp.moved_events, pg_temp.expired_events;
end
$$;

-- See migration 0066. The links that the recipient has clicked come to the coordinator. It replaces those that nobody else has clicked,
-- and the changed rows go back to the nodes.
create or replace function app.erase_links_of_recipient(person jsonb, schema_name text)
returns table (relation text, row_count bigint)
language plpgsql
set search_path = app, pg_temp
as $$
declare
    in_workspace constant text := person ->> 'workspace';
    events constant text := format('%I.fct_email_events', schema_name);
    messages constant text := format('%I.fct_messages', schema_name);
    links constant text := format('%I.fct_link_days', schema_name);
begin
    if to_regclass(events) is null or to_regclass(links) is null then
        return;
    end if;
    create temporary table messages_of_links (workspace_id text, message_id text, primary key (workspace_id, message_id))
    on commit drop;
    insert into pg_temp.messages_of_links
    select * from pg_temp.erased_messages;
    execute format(
        'create temporary table messages_of_hashes on commit drop as'
        || ' with spellings as materialized (select distinct old_hash from pg_temp.erased_spellings)'
        || ' select distinct events.workspace_id, events.message_id from %s as events'
        || ' inner join spellings on events.recipient_hash = spellings.old_hash'
        || ' where %L is null or events.workspace_id = %L',
        events, in_workspace, in_workspace
    );
    insert into pg_temp.messages_of_links
    select * from pg_temp.messages_of_hashes
    on conflict do nothing;
    execute format(
        'create temporary table versions_of_links on commit drop as'
        || ' with erased as materialized (select * from pg_temp.messages_of_links)'
        || ' select messages.workspace_id, messages.message_id, messages.valid_to, messages.clicked_links from %s as messages'
        || ' inner join erased on messages.workspace_id = erased.workspace_id and messages.message_id = erased.message_id'
        || ' where messages.clicked_links is not null',
        messages
    );
    create temporary table links_of_recipient on commit drop as
    select
        versions.workspace_id,
        links_of_version.link,
        count(distinct versions.message_id) filter (where versions.valid_to = 9223372036854775807) as messages
    from pg_temp.versions_of_links as versions
    cross join lateral jsonb_object_keys(versions.clicked_links) as links_of_version (link)
    where links_of_version.link <> ''
    group by 1, 2;
    execute format(
        'create temporary table clicks_of_all on commit drop as'
        || ' with theirs as materialized (select workspace_id, link from pg_temp.links_of_recipient)'
        || ' select days.workspace_id, days.link, sum(days.messages_clicked) as messages from %s as days'
        || ' inner join theirs on days.workspace_id = theirs.workspace_id and days.link = theirs.link'
        || ' where days.valid_to = 9223372036854775807'
        || ' group by 1, 2',
        links
    );
    create temporary table erased_links on commit drop as
    select
        theirs.workspace_id,
        theirs.link,
        'erased:' || md5((person ->> 'token') || theirs.link) as new_link
    from pg_temp.links_of_recipient as theirs
    left join pg_temp.clicks_of_all as clicked using (workspace_id, link)
    where coalesce(clicked.messages, 0) <= theirs.messages;

    create temporary table new_links on commit drop as
    select distinct
        versions.workspace_id,
        versions.message_id,
        versions.clicked_links,
        (
            select jsonb_object_agg(coalesce(erased_links.new_link, clicked.link), clicked.counts)
            from jsonb_each(versions.clicked_links) as clicked (link, counts)
            left join pg_temp.erased_links
                on erased_links.workspace_id = versions.workspace_id and erased_links.link = clicked.link
        ) as new_clicked_links
    from pg_temp.versions_of_links as versions
    where exists (
        select from pg_temp.erased_links
        where erased_links.workspace_id = versions.workspace_id and versions.clicked_links ? erased_links.link
    );
    execute format(
        'with new_links as materialized (select * from pg_temp.new_links)'
        || ' update %s as messages set clicked_links = new_links.new_clicked_links from new_links'
        || ' where messages.workspace_id = new_links.workspace_id and messages.message_id = new_links.message_id'
        || ' and messages.clicked_links = new_links.clicked_links',
        messages
    );
    execute format(
        'with erased as materialized (select * from pg_temp.erased_links)'
        || ' update %s as days set link = erased.new_link from erased'
        || ' where days.workspace_id = erased.workspace_id and days.link = erased.link',
        links
    );
    get diagnostics row_count = row_count;
    relation := links;
    return next;
    drop table
        pg_temp.messages_of_links, pg_temp.messages_of_hashes, pg_temp.versions_of_links, pg_temp.links_of_recipient,
        pg_temp.clicks_of_all, pg_temp.erased_links, pg_temp.new_links;
end
$$;

-- See migration 0030 (there erase_recipient_from_core). Random texts are made on the coordinator, of the values that are there.
create or replace function app.erase_recipient_from_messages(person jsonb, schema_name text)
returns table (relation text, row_count bigint)
language plpgsql
set search_path = app, pg_temp
as $$
declare
    hashes constant text := (select string_agg(erased_spellings.old_hash, '|') from pg_temp.erased_spellings);
    in_workspace constant text := person ->> 'workspace';
    events constant text := format('%I.fct_email_events', schema_name);
    rejected constant text := format('%I.fct_rejected_events', schema_name);
    entry record;
begin
    if to_regclass(events) is not null then
        execute format(
            'create temporary table messages_of_hashes on commit drop as'
            || ' with spellings as materialized (select distinct old_hash from pg_temp.erased_spellings)'
            || ' select distinct events.workspace_id, events.message_id from %s as events'
            || ' inner join spellings on events.recipient_hash = spellings.old_hash'
            || ' where %L is null or events.workspace_id = %L',
            events, in_workspace, in_workspace
        );
        insert into pg_temp.erased_messages
        select * from pg_temp.messages_of_hashes
        on conflict do nothing;
        drop table pg_temp.messages_of_hashes;
        execute format(
            'create temporary table events_of_messages on commit drop as'
            || ' with erased as materialized (select * from pg_temp.erased_messages)'
            || ' select distinct events.workspace_id, events.event_id, events.provider, events.recipient_hash from %s as events'
            || ' inner join erased on events.workspace_id = erased.workspace_id and events.message_id = erased.message_id',
            events
        );
        create temporary table erased_events on commit drop as
        select distinct found.workspace_id, found.event_id
        from pg_temp.events_of_messages as found
        where found.recipient_hash is null or found.recipient_hash in (select old_hash from pg_temp.erased_spellings);
        if to_regclass(rejected) is not null then
            -- ids of webhooks' events are made of the hash
            execute format(
                'with erased as materialized (select * from pg_temp.erased_events)'
                || ' update %s as rejected set'
                || ' event_id = rejected.provider || '':'' || md5($1 || rejected.event_id),'
                || ' rejected_event_id = md5($1 || rejected.rejected_event_id)'
                || ' from erased'
                || ' where rejected.workspace_id = erased.workspace_id and rejected.event_id = erased.event_id'
                || ' and rejected.provider <> ''native''',
                rejected
            ) using person ->> 'token';
            get diagnostics row_count = row_count;
            relation := rejected;
            return next;
        end if;
        -- every version of an erased event, also one that was of another message
        execute format(
            'create temporary table versions_of_events on commit drop as'
            || ' with erased as materialized (select * from pg_temp.erased_events)'
            || ' select distinct events.workspace_id, events.event_id, events.provider, events.recipient_hash from %s as events'
            || ' inner join erased on events.workspace_id = erased.workspace_id and events.event_id = erased.event_id',
            events
        );
        create temporary table new_events on commit drop as
        select
            versions.workspace_id,
            versions.event_id,
            versions.recipient_hash,
            case
                when versions.provider = 'native' then pseudonymize(versions.event_id, person)
                else versions.provider || ':' || md5((person ->> 'token') || versions.event_id)
            end as new_event_id,
            coalesce(
                (select erased_spellings.new_hash from pg_temp.erased_spellings where erased_spellings.old_hash = versions.recipient_hash),
                versions.recipient_hash
            ) as new_recipient_hash
        from pg_temp.versions_of_events as versions;
        execute format(
            'with new_events as materialized (select * from pg_temp.new_events)'
            || ' update %s as events set'
            || ' event_id = new_events.new_event_id, recipient_hash = new_events.new_recipient_hash,'
            || ' diagnostic = null, url = null, user_agent = null'
            || ' from new_events'
            || ' where events.workspace_id = new_events.workspace_id and events.event_id = new_events.event_id'
            || ' and events.recipient_hash is not distinct from new_events.recipient_hash',
            events
        );
        get diagnostics row_count = row_count;
        relation := events;
        return next;
        drop table pg_temp.events_of_messages, pg_temp.erased_events, pg_temp.versions_of_events, pg_temp.new_events;
    end if;

    -- an address with a comment has it in its domain
    for entry in
        select pg_class.oid::regclass as name
        from pg_class
        inner join pg_attribute on pg_class.oid = pg_attribute.attrelid
        where
            pg_class.relnamespace = to_regnamespace(format('%I', schema_name))
            and pg_class.relkind in ('r', 'p')
            and not pg_class.relispartition
            and pg_attribute.attname = 'recipient_domain'
            and not pg_attribute.attisdropped
            and pg_has_role(pg_class.relowner, 'usage')
    loop
        execute format(
            'update %s set recipient_domain = %L where (%L is null or workspace_id = %L) and recipient_domain = any(%L::text[])',
            entry.name,
            person ->> 'domain',
            in_workspace,
            in_workspace,
            array(
                select recipient_domain(erased_spellings.spelling) from pg_temp.erased_spellings
                where recipient_domain(erased_spellings.spelling) <> person ->> 'domain'
            )
        );
    end loop;

    -- ids of messages are made of the hash, and other systems can make theirs of the address
    for entry in
        select
            pg_class.oid::regclass as name,
            string_agg(format('%1$I = new_texts.%2$I', text_columns.attname, 'new_' || text_columns.attname), ', ') as assignments,
            string_agg(format('pseudonymize(%1$I, $1) as %2$I', text_columns.attname, 'new_' || text_columns.attname), ', ') as new_texts,
            string_agg(
                format('and changed.%1$I is not distinct from new_texts.%1$I', text_columns.attname), ' '
            ) filter (where text_columns.attname <> 'message_id') as comparisons,
            string_agg(format('%I', text_columns.attname), ', ') as columns
        from pg_class
        inner join pg_attribute as text_columns on pg_class.oid = text_columns.attrelid
        where
            pg_class.relnamespace = to_regnamespace(format('%I', schema_name))
            and pg_class.relkind in ('r', 'p')
            and not pg_class.relispartition
            and text_columns.atttypid = 'text'::regtype
            and text_columns.attnum > 0
            and not text_columns.attisdropped
            -- entities of the platform
            and text_columns.attname not in ('workspace_id', 'campaign_id', 'mailbox_id', 'domain_id')
            and exists (
                select from pg_attribute as ids
                where ids.attrelid = pg_class.oid and ids.attname = 'message_id' and not ids.attisdropped
            )
            and pg_has_role(pg_class.relowner, 'usage')
        group by pg_class.oid
    loop
        execute format(
            'create temporary table found_texts on commit drop as'
            || ' select distinct workspace_id, %2$s from %1$s'
            || ' where (%3$L is null or workspace_id = %3$L)'
            || ' and (concat_ws('' '', %2$s) ~ %4$L'
            || ' or (app.may_be_mentioned(concat_ws('' '', %2$s), %5$L::jsonb) and app.is_mentioned(concat_ws('' '', %2$s), %5$L::jsonb)))',
            entry.name, entry.columns, in_workspace, hashes, person
        );
        execute format(
            'create temporary table new_texts on commit drop as select found_texts.*, %s from pg_temp.found_texts', entry.new_texts
        ) using person;
        execute format(
            'with new_texts as materialized (select * from pg_temp.new_texts)'
            || ' update %s as changed set %s from new_texts'
            || ' where changed.workspace_id = new_texts.workspace_id and changed.message_id is not distinct from new_texts.message_id %s',
            entry.name, entry.assignments, entry.comparisons
        );
        get diagnostics row_count = row_count;
        insert into pg_temp.touched_workspaces
        select distinct workspace_id from pg_temp.found_texts
        on conflict do nothing;
        drop table pg_temp.found_texts, pg_temp.new_texts;
        relation := entry.name::text;
        return next;
    end loop;
    insert into pg_temp.touched_workspaces
    select distinct erased_messages.workspace_id from pg_temp.erased_messages
    on conflict do nothing;
end
$$;

-- 3. Retention of one workspace, in the order of keys: in place of the functions of migration 0027 that go through a table's pages

-- See app.close_messages(). Looks at no more than so many messages, after the one with that id, and returns the last one that was looked
-- at; null at the end. `removed` is null if a build is running.
create or replace function app.close_messages_of_workspace(
    warehouse text, events regclass, until timestamptz, of_workspace_id text, after_id text, max_keys int,
    out removed bigint, out last_id text
)
language plpgsql
set search_path = app, pg_temp
as $$
declare
    served record;
    old_batch_id constant bigint := coalesce((last_build_before(warehouse, until)).batch_id, 0);
begin
    if not hold_off_builds(warehouse) then
        return;
    end if;
    removed := 0;
    select
        publications.batch_id,
        publications.data_as_of
    into served from current_publication
    inner join publications using (target, batch_id)
    where target = warehouse;
    if not found then
        return;
    end if;
    execute format(
        $statement$
        create temporary table looked_at on commit drop as
        select
            message_id,
            bool_or(loaded_at < %4$L or valid_from <= %5$s) as is_old,
            bool_and(valid_from <= %6$s and (valid_to <= %6$s or valid_to = 9223372036854775807)) as is_published
        from %1$s
        where workspace_id = %2$L and message_id > %3$L
        group by message_id
        order by message_id
        limit %7$s
        $statement$,
        events, of_workspace_id, after_id, until, old_batch_id, served.batch_id, max_keys
    );
    select case when count(*) = max_keys then max(looked_at.message_id) end into last_id from pg_temp.looked_at;
    execute format(
        'create temporary table removed_events on commit drop as'
        || ' with closed as materialized (select message_id from pg_temp.looked_at where is_old and is_published)'
        || ' select events.message_id, events.alias_message_id, events.valid_to from %1$s as events'
        || ' inner join closed on events.message_id = closed.message_id where events.workspace_id = %2$L',
        events, of_workspace_id
    );
    create temporary table removed_aliases on commit drop as
    select distinct
        removed_events.message_id,
        removed_events.alias_message_id
    from pg_temp.removed_events
    where removed_events.valid_to = 9223372036854775807 and removed_events.alias_message_id is not null;
    execute format(
        'create temporary table kept_aliases on commit drop as'
        || ' with aliases as materialized (select distinct message_id, alias_message_id from pg_temp.removed_aliases)'
        || ' select distinct aliases.message_id, aliases.alias_message_id from %1$s as others'
        || ' inner join aliases on others.alias_message_id = aliases.alias_message_id'
        || ' where others.workspace_id = %2$L and others.message_id <> aliases.message_id'
        || ' and others.is_under_alias is null and others.valid_to = 9223372036854775807',
        events, of_workspace_id
    );
    execute format(
        'with closed as materialized (select message_id from pg_temp.looked_at where is_old and is_published)'
        || ' delete from %1$s as events using closed'
        || ' where events.workspace_id = %2$L and events.message_id = closed.message_id',
        events, of_workspace_id
    );
    get diagnostics removed = row_count;
    insert into closed_messages (workspace_id, message_key, counted_until)
    select
        of_workspace_id,
        message_key(warehouse, closed_ids.message_id),
        served.data_as_of
    from (
        select removed_events.message_id from pg_temp.removed_events
        where removed_events.valid_to = 9223372036854775807
        union
        select removed_aliases.alias_message_id from pg_temp.removed_aliases
        where not exists (
            select from pg_temp.kept_aliases
            where
                kept_aliases.message_id = removed_aliases.message_id
                and kept_aliases.alias_message_id = removed_aliases.alias_message_id
        )
    ) as closed_ids
    on conflict do nothing;
    perform count_removed_rows(warehouse, 'fct_email_events', removed);
    drop table pg_temp.looked_at, pg_temp.removed_events, pg_temp.removed_aliases, pg_temp.kept_aliases;
end
$$;

-- See app.remove_messages().
create or replace function app.remove_messages_of_workspace(
    warehouse text, messages regclass, until timestamptz, of_workspace_id text, after_id text, max_keys int,
    out removed bigint, out last_id text
)
language plpgsql
set search_path = app, pg_temp
as $$
declare
    served_batch_id bigint;
    condition text;
begin
    if not hold_off_builds(warehouse) then
        return;
    end if;
    removed := 0;
    select batch_id into served_batch_id from current_publication
    where target = warehouse;
    if not found then
        return;
    end if;
    condition := format(
        'messages.workspace_id = %1$L and coalesce(messages.sent_at, ''-infinity'') < %2$L and messages.valid_from <= %3$s'
        || ' and (messages.valid_to <= %3$s or messages.valid_to = 9223372036854775807)',
        of_workspace_id, until, served_batch_id
    );
    execute format(
        'create temporary table looked_at on commit drop as'
        || ' select distinct messages.message_id from %s as messages where %s and messages.message_id > %L'
        || ' order by messages.message_id limit %s',
        messages, condition, after_id, max_keys
    );
    select case when count(*) = max_keys then max(looked_at.message_id) end into last_id from pg_temp.looked_at;
    create temporary table closed_of_these on commit drop as
    select looked_at.message_id
    from pg_temp.looked_at
    inner join closed_messages as closed
        on closed.workspace_id = of_workspace_id and closed.message_key = message_key(warehouse, looked_at.message_id);
    execute format(
        'with closed as materialized (select message_id from pg_temp.closed_of_these)'
        || ' delete from %s as messages using closed where messages.message_id = closed.message_id and %s',
        messages, condition
    );
    get diagnostics removed = row_count;
    perform count_removed_rows(warehouse, 'fct_messages', removed);
    drop table pg_temp.looked_at, pg_temp.closed_of_these;
end
$$;

-- See app.remove_rejected_events().
create or replace function app.remove_rejected_events_of_workspace(
    warehouse text, rejected regclass, until timestamptz, of_workspace_id text, after_id text, max_keys int,
    out removed bigint, out last_id text
)
language plpgsql
set search_path = app, pg_temp
as $$
declare
    served_batch_id bigint;
    condition text;
begin
    if not hold_off_builds(warehouse) then
        return;
    end if;
    removed := 0;
    select batch_id into served_batch_id from current_publication
    where target = warehouse;
    if not found then
        return;
    end if;
    condition := format(
        'rejected.workspace_id = %L and (rejected.loaded_at < %L or rejected.valid_from <= %s) and rejected.valid_from <= %s',
        of_workspace_id, until, coalesce((last_build_before(warehouse, until)).batch_id, 0), served_batch_id
    );
    execute format(
        'create temporary table looked_at on commit drop as'
        || ' select distinct rejected.rejected_event_id from %s as rejected where %s and rejected.rejected_event_id > %L'
        || ' order by rejected.rejected_event_id limit %s',
        rejected, condition, after_id, max_keys
    );
    select case when count(*) = max_keys then max(looked_at.rejected_event_id) end into last_id from pg_temp.looked_at;
    execute format(
        'with old as materialized (select rejected_event_id from pg_temp.looked_at)'
        || ' delete from %s as rejected using old where rejected.rejected_event_id = old.rejected_event_id and %s',
        rejected, condition
    );
    get diagnostics removed = row_count;
    perform count_removed_rows(warehouse, 'fct_rejected_events', removed);
    drop table pg_temp.looked_at;
end
$$;

revoke execute on function app.close_messages_of_workspace(text, regclass, timestamptz, text, text, int) from public;
revoke execute on function app.remove_messages_of_workspace(text, regclass, timestamptz, text, text, int) from public;
revoke execute on function app.remove_rejected_events_of_workspace(text, regclass, timestamptz, text, text, int) from public;
