-- depends: 0029_erasure_of_workspaces
set local role mailmart_owner;

-- Erasure of a recipient. The address is replaced by a random one of the same domain, and the hash by that of the random address, in
-- all rows of one transaction: so a message stays one message, in what is built already and when everything is built again. Texts,
-- URLs and user agents of the recipient's events are removed. What the random address is made of is forgotten with the transaction.
--
-- `person` is made by api/erasure/person.py:
--   address    the bare address (app.bare_address)
--   domain     its domain
--   token      a random text
--   needle     a part of the address that each of its spellings has, in lower case
--   mention    a regular expression: the address in any spelling
--   encoded    a regular expression: the address in base64
--   encodings  a regular expression: the parts of base64 that `encoded` looks for
--   workspace  the workspace that the erasure is limited to, or null
--   address_keys, text_keys, kept_keys, list_keys   names of JSON members: see api/erasure/fields.py
--   countable_types   the types of export that have no row of a message
-- Temporary tables of the transaction (app.begin_recipient_erasure):
--   erased_spellings(spelling, old_hash, new_address, new_hash)
--   erased_texts(loaded_at, smtp_status, diagnostic, replacement)
--   erased_messages(workspace_id, message_id): the recipient's messages, before the replacement
--   touched_workspaces(workspace_id)

-- Whether a text has the address.
create function app.is_mentioned(content text, person jsonb) returns boolean
language sql immutable parallel safe
return content ~* (person ->> 'mention') or content ~ (person ->> 'encoded');

-- A quick condition that every text with the address meets, and few others. PL/pgSQL: a function in SQL that cannot be inlined is slow.
create function app.may_be_mentioned(content text, person jsonb) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return strpos(lower(content), person ->> 'needle') > 0 or content ~ (person ->> 'encodings');
end
$$;

-- The random address in place of a spelling, such as "a@b.example (comment)". Each spelling has another hash, so it gets another
-- address: two messages stay two.
create function app.erased_address(spelling text, person jsonb) returns text
language plpgsql volatile
set search_path = app, pg_temp
as $$
declare
    bare constant text := bare_address(left(spelling, 4000));
    replacement constant text :=
        'erased-' || left(encode(sha256(convert_to((person ->> 'token') || ' ' || bare, 'UTF8')), 'hex'), 24)
        || '@' || (person ->> 'domain');
begin
    insert into pg_temp.erased_spellings (spelling, old_hash, new_address, new_hash)
    values (bare, recipient_hash(bare), replacement, recipient_hash(replacement))
    on conflict do nothing;
    return replacement;
end
$$;

-- A text with the random address and the new hashes in place of the recipient's. is_list: of a list of addresses, the name before the
-- address goes with it.
create function app.pseudonymize(content text, person jsonb, is_list boolean default false) returns text
language plpgsql volatile
set search_path = app, pg_temp
as $$
declare
    replacement text;
    spelling record;
begin
    if content is null then
        return null;
    end if;
    for spelling in select * from pg_temp.erased_spellings loop
        content := replace(content, spelling.old_hash, spelling.new_hash);
    end loop;
    if not may_be_mentioned(content, person) then
        return content;
    end if;
    replacement := replace(erased_address(person ->> 'address', person), '\', '\\');
    if is_list then
        content := regexp_replace(
            content, '("[^"<>]*"|[^"<>@,;]*)\s*<\s*(' || (person ->> 'mention') || ')\s*>', '<' || replacement || '>', 'gi'
        );
        content := regexp_replace(content, '(' || (person ->> 'mention') || ')\s*\([^()]*\)', replacement, 'gi');
    end if;
    content := regexp_replace(content, person ->> 'mention', replacement, 'gi');
    return regexp_replace(content, person ->> 'encoded', 'erased', 'g');
end
$$;

-- Whether a JSON value names recipients, and this one only.
create function app.is_about_person_only(node jsonb, person jsonb) returns boolean
language sql stable
set search_path = app, pg_temp
as $$
    with recursive nodes (key, value) as (
        select ''::text, node
        union all
        select coalesce(children.key, nodes.key), children.value
        from nodes
        cross join lateral (
            select members.key, members.value
            from jsonb_each(case when jsonb_typeof(nodes.value) = 'object' then nodes.value end) as members
            union all
            select null, elements.value
            from jsonb_array_elements(case when jsonb_typeof(nodes.value) = 'array' then nodes.value end) as elements
        ) as children
    )

    select coalesce(bool_and(app.is_mentioned(nodes.value #>> '{}', person)), false)
    from nodes
    where
        jsonb_typeof(nodes.value) = 'string'
        and person -> 'address_keys' ? nodes.key
        -- a list of several recipients is about none of them only
        and not (person -> 'list_keys' ? nodes.key and nodes.value #>> '{}' like '%@%@%')
$$;

-- A JSON value of a webhook without the recipient; null if nothing of it is left. Of an event of this recipient only, the members that
-- staging reads are left, without texts, URLs and user agents. Of any other, the address is replaced.
-- key: the name of the member that the value is of; status: the member `status` beside it, if it is a text
create function app.redact_json(
    node jsonb, person jsonb, key text, is_about_person boolean, status text, body_loaded_at timestamptz
) returns jsonb
language plpgsql volatile
set search_path = app, pg_temp
as $$
declare
    content text;
    is_about boolean := is_about_person;
    is_address boolean;
begin
    case jsonb_typeof(node)
        when 'object' then
            is_about := is_about or is_about_person_only(node, person);
            return coalesce(
                (
                    select jsonb_object_agg(pseudonymize(redacted.key, person), redacted.value)
                    from (
                        select
                            members.key,
                            redact_json(
                                members.value, person, members.key, is_about, coalesce(node ->> 'status', node ->> 'enhanced-code'),
                                body_loaded_at
                            ) as value
                        from jsonb_each(node) as members
                    ) as redacted
                    where redacted.value is not null
                ),
                '{}'
            );
        when 'array' then
            return coalesce(
                (
                    select jsonb_agg(redacted.value order by redacted.ordinal)
                    from (
                        select
                            redact_json(elements.value, person, key, is_about, status, body_loaded_at) as value,
                            elements.ordinal
                        from jsonb_array_elements(node) with ordinality as elements (value, ordinal)
                    ) as redacted
                    where redacted.value is not null
                ),
                '[]'
            );
        when 'string' then
            content := node #>> '{}';
        else
            return case when not is_about or person -> 'kept_keys' ? key then node end;
    end case;

    -- SNS has the notification as a JSON text
    if content ~ '^\s*[[{]' and (is_about or may_be_mentioned(content, person)) and pg_input_is_valid(content, 'jsonb') then
        return to_jsonb(redact_json(content::jsonb, person, key, is_about, null, body_loaded_at)::text);
    end if;

    is_address := person -> 'address_keys' ? key and content not like '%@%@%' and is_mentioned(content, person);
    if is_address then
        return to_jsonb(erased_address(content, person));
    elsif is_about and person -> 'text_keys' ? key then
        return to_jsonb(erased_text(content, person, status, body_loaded_at));
    elsif is_about and not (person -> 'kept_keys' ? key or person -> 'address_keys' ? key) then
        return null;
    end if;
    return to_jsonb(pseudonymize(content, person, is_list => person -> 'list_keys' ? key or person -> 'address_keys' ? key));
end
$$;

-- What stands in place of a text of a receiving server or a provider. That of a bounce keeps its reason, so that a build from nothing
-- classifies it alike. A word without spaces is a code of the provider, unless it is the address's own first part.
create function app.erased_text(content text, person jsonb, status text, body_loaded_at timestamptz) returns text
language plpgsql volatile
set search_path = app, pg_temp
as $$
declare
    replacement text;
begin
    if content ~ '^[A-Za-z0-9_-]{0,60}$' and lower(content) <> split_part(person ->> 'address', '@', 1) then
        return content;
    end if;
    select erased_texts.replacement into replacement
    from pg_temp.erased_texts
    where
        erased_texts.loaded_at = body_loaded_at
        and erased_texts.diagnostic = mask_addresses(clip_text(content))
    order by erased_texts.smtp_status = status desc nulls last, erased_texts.replacement
    limit 1;
    if not found then
        return '[erased]';
    elsif replacement is null then
        raise exception 'a bounce of the recipient was not built yet' using errcode = 'MM004';
    end if;
    return replacement;
end
$$;

-- The text of an erased bounce: the codes that were in it, and the reason that it was classified by. models/core/fct_email_events.sql
-- reads the reason. A bounce that is not valid has none.
create function app.erased_bounce_text(smtp_status text, smtp_code int, bounce_reason text) returns text
language sql immutable parallel safe
return concat_ws(' ', smtp_code, smtp_status, coalesce('[erased: ' || bounce_reason || ']', '[erased]'));

-- Whether the events that a transaction has loaded were read by a build of production.
create function app.is_built(xid xid8) returns boolean
language sql stable
set search_path = app, pg_temp
begin atomic
    select
        coalesce(
            pg_visible_in_snapshot(
                xid,
                (
                    select batches.raw_snapshot
                    from app.model_runs as runs
                    inner join app.batches on runs.raw_batch_id = batches.batch_id
                    where
                        runs.target = 'production'
                        and runs.model = 'fct_email_events'
                        and batches.system_identifier = app.system_identifier()
                    order by runs.batch_id desc
                    limit 1
                )
            ),
            false
        );
end;

-- A body as text; null if PostgreSQL cannot write it as one, because of numbers with 131,072 digits.
create function app.text_of_body(payload jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return payload::text;
exception
    when program_limit_exceeded or out_of_memory or numeric_value_out_of_range then return null;
end
$$;

-- Creates the temporary tables of the transaction.
create function app.begin_recipient_erasure(person jsonb) returns void
language plpgsql
set search_path = app, pg_temp
as $$
begin
    if to_regclass('staging.int_loaded_events') is null or to_regclass('core.fct_email_events') is null then
        raise exception 'nothing was built' using errcode = 'MM004';
    end if;
    create temporary table erased_spellings (spelling text primary key, old_hash text, new_address text, new_hash text)
    on commit drop;
    create temporary table erased_texts (loaded_at timestamptz, smtp_status text, diagnostic text, replacement text)
    on commit drop;
    create temporary table erased_messages (workspace_id text, message_id text, primary key (workspace_id, message_id))
    on commit drop;
    create temporary table touched_workspaces (workspace_id text primary key) on commit drop;
    perform erased_address(person ->> 'address', person);
end
$$;

-- The bodies of webhooks.
create function app.erase_recipient_from_payloads(person jsonb) returns bigint
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
            when known_events.event_id is not null or is_built(events.loaded_xid)
                then erased_bounce_text(events.smtp_status, events.smtp_code, known_events.bounce_reason)
        end
    from staging.int_loaded_events as events
    left join core.fct_email_events as known_events
        on
            events.workspace_id = known_events.workspace_id
            and events.event_id = known_events.event_id
            and known_events.valid_to = 9223372036854775807
    where
        events.event_type = 'bounced'
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

-- What was received and could not be loaded. Such a body is not read by builds: one that is no JSON goes as a whole.
create function app.erase_recipient_from_rejected(person jsonb) returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    bodies bigint;
begin
    update raw.rejected_payloads
    set
        body = case
            when body is null or not is_mentioned(body, person) then body
            when
                length(body) - length(translate(body, '[{', '')) < 5000
                and pg_input_is_valid(body, 'jsonb')
                then redact_json(body::jsonb, person, '', false, null, loaded_at)::text
        end,
        reason = pseudonymize(reason, person),
        source = pseudonymize(source, person),
        body_md5 = md5(gen_random_uuid()::text)
    where
        (person ->> 'workspace' is null or workspace_id = person ->> 'workspace')
        and may_be_mentioned(concat_ws(' ', body, reason, source), person)
        and is_mentioned(concat_ws(' ', body, reason, source), person);
    get diagnostics bodies = row_count;
    return bodies;
end
$$;

-- Native events. An event without a recipient is the recipient's if its message is.
create function app.erase_recipient_from_events(person jsonb) returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    in_workspace constant text := person ->> 'workspace';
    hashes text;
    events bigint;
    others bigint;
begin
    -- other systems can write an address in place of a hash
    perform erased_address(spellings.recipient_hash, person)
    from (
        select distinct email_events.recipient_hash from raw.email_events
        where
            (in_workspace is null or email_events.workspace_id = in_workspace)
            and email_events.recipient_hash like '%@%'
            and is_mentioned(email_events.recipient_hash, person)
    ) as spellings;

    create temporary table erased_values (recipient_hash text primary key, new_hash text) on commit drop;
    insert into pg_temp.erased_values
    select erased_spellings.old_hash, erased_spellings.new_hash from pg_temp.erased_spellings
    union all
    select distinct email_events.recipient_hash, erased_spellings.new_hash
    from raw.email_events
    inner join pg_temp.erased_spellings on bare_address(left(email_events.recipient_hash, 4000)) = erased_spellings.spelling
    where email_events.recipient_hash like '%@%';

    insert into pg_temp.erased_messages
    select distinct email_events.workspace_id, email_events.message_id
    from raw.email_events
    inner join pg_temp.erased_values using (recipient_hash)
    where
        email_events.workspace_id is not null
        and email_events.message_id is not null
        and (in_workspace is null or email_events.workspace_id = in_workspace)
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
    ) then
        raise exception 'a bounce of the recipient was not built yet' using errcode = 'MM004';
    end if;

    with erased as (
        update raw.email_events as email_events
        set
            event_id = pseudonymize(event_id, person),
            message_id = pseudonymize(message_id, person),
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
                        (
                            select known_events.bounce_reason from core.fct_email_events as known_events
                            where
                                known_events.workspace_id = email_events.workspace_id
                                and known_events.event_id = email_events.event_id
                                and known_events.valid_to = 9223372036854775807
                        )
                    )
            end,
            url = null,
            user_agent = null
        where
            (in_workspace is null or workspace_id = in_workspace)
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

    select count(*) into events from erased;

    select string_agg(erased_spellings.old_hash, '|') into hashes from pg_temp.erased_spellings;
    update raw.email_events
    set
        event_id = pseudonymize(event_id, person),
        message_id = pseudonymize(message_id, person),
        recipient_domain = pseudonymize(recipient_domain, person),
        diagnostic = pseudonymize(diagnostic, person),
        url = pseudonymize(url, person),
        user_agent = pseudonymize(user_agent, person)
    where
        (in_workspace is null or workspace_id = in_workspace)
        and (
            message_id ~ hashes
            or (
                may_be_mentioned(concat_ws(' ', event_id, message_id, recipient_domain, diagnostic, url, user_agent), person)
                and is_mentioned(concat_ws(' ', event_id, message_id, recipient_domain, diagnostic, url, user_agent), person)
            )
        );
    get diagnostics others = row_count;
    drop table pg_temp.erased_values;
    return events + others;
end
$$;

-- The events and messages of one warehouse (schema core of production, or a developer's), in all of their versions. Rows are changed in
-- place: no count changes, so nothing is published, and nothing has to be built.
create function app.erase_recipient_from_core(person jsonb, schema_name text)
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
            'insert into pg_temp.erased_messages'
            || ' select distinct events.workspace_id, events.message_id from %s as events'
            || ' inner join pg_temp.erased_spellings on events.recipient_hash = erased_spellings.old_hash'
            || ' where $1 is null or events.workspace_id = $1'
            || ' on conflict do nothing',
            events
        ) using in_workspace;
        analyze pg_temp.erased_messages;
        create temporary table erased_events on commit drop as
        select ''::text as workspace_id, ''::text as event_id
        where false;
        execute format(
            'insert into pg_temp.erased_events'
            || ' select distinct events.workspace_id, events.event_id from %s as events'
            || ' inner join pg_temp.erased_messages using (workspace_id, message_id)'
            || ' where events.recipient_hash is null'
            || ' or events.recipient_hash in (select old_hash from pg_temp.erased_spellings)',
            events
        );
        analyze pg_temp.erased_events;
        if to_regclass(rejected) is not null then
            -- ids of webhooks' events are made of the hash
            execute format(
                'update %s as rejected set'
                || ' event_id = rejected.provider || '':'' || md5($1 || rejected.event_id),'
                || ' rejected_event_id = md5($1 || rejected.rejected_event_id)'
                || ' from pg_temp.erased_events as erased'
                || ' where rejected.workspace_id = erased.workspace_id and rejected.event_id = erased.event_id'
                || ' and rejected.provider <> ''native''',
                rejected
            ) using person ->> 'token';
            get diagnostics row_count = row_count;
            relation := rejected;
            return next;
        end if;
        execute format(
            'update %s as events set'
            || ' event_id = case when events.provider = ''native'' then app.pseudonymize(events.event_id, $2)'
            || ' else events.provider || '':'' || md5($1 || events.event_id) end,'
            || ' recipient_hash = coalesce('
            || '(select new_hash from pg_temp.erased_spellings where old_hash = events.recipient_hash), events.recipient_hash),'
            || ' diagnostic = null, url = null, user_agent = null'
            || ' from pg_temp.erased_events as erased'
            || ' where events.workspace_id = erased.workspace_id and events.event_id = erased.event_id',
            events
        ) using person ->> 'token', person;
        get diagnostics row_count = row_count;
        relation := events;
        return next;
        drop table pg_temp.erased_events;
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
            'update %s set recipient_domain = $1 where ($2 is null or workspace_id = $2) and recipient_domain = any($3)',
            entry.name
        )
        using
            person ->> 'domain',
            in_workspace,
            array(
                select recipient_domain(erased_spellings.spelling) from pg_temp.erased_spellings
                where recipient_domain(erased_spellings.spelling) <> person ->> 'domain'
            );
    end loop;

    -- ids of messages are made of the hash, and other systems can make theirs of the address
    for entry in
        select
            pg_class.oid::regclass as name,
            string_agg(format('%1$I = app.pseudonymize(%1$I, $1)', text_columns.attname), ', ') as assignments,
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
            'with erased as ('
            || 'update %s set %s where ($2 is null or workspace_id = $2)'
            || ' and (concat_ws('' '', %3$s) ~ $3'
            || ' or (app.may_be_mentioned(concat_ws('' '', %3$s), $1) and app.is_mentioned(concat_ws('' '', %3$s), $1)))'
            || ' returning workspace_id), '
            || 'workspaces as (insert into pg_temp.touched_workspaces select distinct workspace_id from erased on conflict do nothing) '
            || 'select count(*) from erased',
            entry.name, entry.assignments, entry.columns
        ) into row_count using person, in_workspace, hashes;
        relation := entry.name::text;
        return next;
    end loop;
    insert into pg_temp.touched_workspaces
    select distinct erased_messages.workspace_id from pg_temp.erased_messages
    on conflict do nothing;
end
$$;

-- Exports, reports, jobs, and what failed builds said.
create function app.erase_recipient_from_app(person jsonb)
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

-- Exports with rows of messages, of the workspaces that had the recipient: their files go, and those that are being written are written
-- again. Returns the exports whose files are to be deleted.
create function app.erase_recipient_from_exports(person jsonb)
returns setof text
language plpgsql
set search_path = app, pg_temp
as $$
declare
    unfinished record;
begin
    create temporary table erased_exports on commit drop as
    select exports.export_id from exports
    where
        exports.workspace_id in (select touched_workspaces.workspace_id from pg_temp.touched_workspaces)
        and not person -> 'countable_types' ? exports.export_type
        and (exports.storage_key is not null or exports.attempt_token is not null);
    for unfinished in
        select
            exports.export_id,
            exports.job_id,
            exports.priority
        from exports
        inner join pg_temp.erased_exports using (export_id)
        where exports.status = 'processing'
    loop
        perform cancel_job(unfinished.job_id);
        -- an attempt that runs has no token any more, and stops
        update exports
        set
            attempts = 0,
            attempt_token = null,
            started_at = null,
            units_written = 0,
            job_id = enqueue(
                'exports', 'export', jsonb_build_object('export_id', unfinished.export_id), unfinished.priority
            )
        where exports.export_id = unfinished.export_id;
    end loop;
    update exports
    set status = 'expired', storage_key = null, file_expires_at = least(file_expires_at, clock_timestamp())
    where
        exports.status in ('completed', 'expired')
        and exports.export_id in (select erased_exports.export_id from pg_temp.erased_exports);
    return query select erased_exports.export_id from pg_temp.erased_exports;
end
$$;

-- Where the address still is: tables that the platform owns and replicates, and that an erasure leaves alone.
create function app.find_in_app_tables(person jsonb)
returns table (relation text, column_name text, row_count bigint)
language plpgsql stable
set search_path = app, pg_temp
as $$
declare
    entry record;
begin
    for entry in
        select
            pg_class.oid::regclass::text as name,
            pg_attribute.attname as column_name
        from pg_class
        inner join pg_attribute on pg_class.oid = pg_attribute.attrelid
        where
            pg_class.relnamespace = 'raw'::regnamespace
            and pg_class.relkind in ('r', 'p')
            and pg_attribute.atttypid = 'text'::regtype
            and pg_attribute.attnum > 0
            and not pg_attribute.attisdropped
            and pg_class.oid not in (select raw_logs())
            and pg_has_role(pg_class.relowner, 'usage')
        order by 1, 2
    loop
        execute format('select count(*) from %s where app.is_mentioned(%I, $1)', entry.name, entry.column_name)
        into row_count using person;
        relation := entry.name;
        column_name := entry.column_name;
        if row_count > 0 then
            return next;
        end if;
    end loop;
end
$$;

revoke execute on function app.is_mentioned(text, jsonb) from public;
revoke execute on function app.may_be_mentioned(text, jsonb) from public;
revoke execute on function app.erased_address(text, jsonb) from public;
revoke execute on function app.pseudonymize(text, jsonb, boolean) from public;
revoke execute on function app.is_about_person_only(jsonb, jsonb) from public;
revoke execute on function app.redact_json(jsonb, jsonb, text, boolean, text, timestamptz) from public;
revoke execute on function app.erased_bounce_text(text, int, text) from public;
revoke execute on function app.is_built(xid8) from public;
revoke execute on function app.erased_text(text, jsonb, text, timestamptz) from public;
revoke execute on function app.text_of_body(jsonb) from public;
revoke execute on function app.begin_recipient_erasure(jsonb) from public;
revoke execute on function app.erase_recipient_from_payloads(jsonb) from public;
revoke execute on function app.erase_recipient_from_rejected(jsonb) from public;
revoke execute on function app.erase_recipient_from_events(jsonb) from public;
revoke execute on function app.erase_recipient_from_core(jsonb, text) from public;
revoke execute on function app.erase_recipient_from_app(jsonb) from public;
revoke execute on function app.erase_recipient_from_exports(jsonb) from public;
revoke execute on function app.find_in_app_tables(jsonb) from public;

reset role;
