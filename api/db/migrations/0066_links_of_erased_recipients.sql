-- depends: 0063_exports_of_planned_shares

-- An erasure of a recipient also looks at the links of clicks. A link that only this recipient clicked can say who it was, such as an
-- unsubscribe link; one that others clicked, too, says nothing. It gets another name in the messages and in the counts by link, in all
-- of their versions, so that no count changes and a later build subtracts what was added.
set local role mailmart_owner;

create function app.erase_links_of_recipient(person jsonb, schema_name text)
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
    create temporary table erased_links (workspace_id text, link text, new_link text, primary key (workspace_id, link))
    on commit drop;
    execute format(
        'insert into pg_temp.messages_of_links'
        || ' select distinct events.workspace_id, events.message_id from %s as events'
        || ' inner join pg_temp.erased_spellings on events.recipient_hash = erased_spellings.old_hash'
        || ' where $1 is null or events.workspace_id = $1'
        || ' union select workspace_id, message_id from pg_temp.erased_messages',
        events
    ) using in_workspace;
    analyze pg_temp.messages_of_links;
    execute format(
        'insert into pg_temp.erased_links'
        || ' with theirs as ('
        || '   select messages.workspace_id, links.link,'
        || '   count(distinct messages.message_id) filter (where messages.valid_to = 9223372036854775807) as messages'
        || '   from %1$s as messages'
        || '   inner join pg_temp.messages_of_links using (workspace_id, message_id)'
        || '   cross join lateral jsonb_object_keys(messages.clicked_links) as links (link)'
        || '   where links.link <> '''''
        || '   group by 1, 2'
        || ' ), clicked as ('
        || '   select days.workspace_id, days.link, sum(days.messages_clicked) as messages'
        || '   from %2$s as days'
        || '   where days.valid_to = 9223372036854775807 and (days.workspace_id, days.link) in (select workspace_id, link from theirs)'
        || '   group by 1, 2'
        || ' )'
        || ' select theirs.workspace_id, theirs.link, ''erased:'' || md5($1 || theirs.link)'
        || ' from theirs left join clicked using (workspace_id, link)'
        || ' where coalesce(clicked.messages, 0) <= theirs.messages',
        messages,
        links
    ) using person ->> 'token';
    analyze pg_temp.erased_links;

    execute format(
        'update %s as messages set clicked_links = ('
        || '   select jsonb_object_agg(coalesce(erased_links.new_link, clicked.link), clicked.counts)'
        || '   from jsonb_each(messages.clicked_links) as clicked (link, counts)'
        || '   left join pg_temp.erased_links'
        || '   on erased_links.workspace_id = messages.workspace_id and erased_links.link = clicked.link'
        || ' )'
        || ' from pg_temp.messages_of_links as erased'
        || ' where messages.workspace_id = erased.workspace_id and messages.message_id = erased.message_id'
        || ' and exists ('
        || '   select from pg_temp.erased_links'
        || '   where erased_links.workspace_id = messages.workspace_id and messages.clicked_links ? erased_links.link'
        || ' )',
        messages
    );
    execute format(
        'update %s as days set link = erased_links.new_link from pg_temp.erased_links'
        || ' where days.workspace_id = erased_links.workspace_id and days.link = erased_links.link',
        links
    );
    get diagnostics row_count = row_count;
    relation := links;
    return next;
    drop table pg_temp.messages_of_links, pg_temp.erased_links;
end
$$;

-- what it was; the links come first, because it replaces the ids of the messages
alter function app.erase_recipient_from_core(jsonb, text) rename to erase_recipient_from_messages;

create function app.erase_recipient_from_core(person jsonb, schema_name text)
returns table (relation text, row_count bigint)
language plpgsql
set search_path = app, pg_temp
as $$
begin
    return query select * from erase_links_of_recipient(person, schema_name);
    return query select * from erase_recipient_from_messages(person, schema_name);
end
$$;

revoke execute on function app.erase_links_of_recipient(jsonb, text) from public;
revoke execute on function app.erase_recipient_from_core(jsonb, text) from public;

reset role;
