-- depends: 0111_recipient_domains

-- One text of functions for one server and for Citus, which had variants of them in api/db/citus_functions.sql. What differs is in two
-- functions that they call.

set local role mailmart_owner;

-- On Citus: whether DDL reaches the other nodes, until the end of the transaction. There, api/db/citus_functions.sql replaces it.
create or replace function app.propagate_ddl(is_on boolean)
returns void
language sql
set search_path = pg_catalog, pg_temp
as '';

revoke execute on function app.propagate_ddl(boolean) from public;

-- The reason that a build has found for a bounce; null if it has found none. A query of its own for each bounce: Citus does not join
-- the raw logs, which are on the coordinator, with core inside of an UPDATE.
create function app.bounce_reason_of(of_workspace_id text, of_event_id text) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select known_events.bounce_reason from core.fct_email_events as known_events
        where
            known_events.workspace_id = of_workspace_id
            and known_events.event_id = of_event_id
            and known_events.valid_to = 9223372036854775807
    );
end
$$;

revoke execute on function app.bounce_reason_of(text, text) from public;

-- See migration 0016. On Citus, the columns are added on all nodes.
create or replace function app.add_missing_columns(relation text, columns json)
returns void
language plpgsql
set search_path = app, pg_temp
set lock_timeout = '1s'
as $$
declare
    existing_table constant regclass := to_regclass(relation);
    additions text;
begin
    if existing_table is null then
        return;
    end if;
    perform propagate_ddl(true);
    for attempt in 1..100 loop
        select string_agg(format('add column %I %s', entries.name, entries.data_type), ', ' order by entries.place)
        into additions
        from json_each_text(columns) with ordinality as entries (name, data_type, place)
        where not exists (
            select from pg_attribute
            where
                pg_attribute.attrelid = existing_table
                and pg_attribute.attname = entries.name
                and not pg_attribute.attisdropped
        );
        if additions is null then
            perform propagate_ddl(false);
            return;
        end if;
        begin
            execute format('alter table %s %s', existing_table, additions);
            perform propagate_ddl(false);
            return;
        exception
            when lock_not_available then perform pg_sleep(1);
        end;
    end loop;
    raise exception '% has been read without a pause for minutes, and cannot get its new columns', existing_table
        using errcode = 'lock_not_available', hint = 'Find the long-running transaction in pg_stat_activity, and build again.';
end
$$;

-- See migration 0030.
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

-- See migration 0041.
create or replace function app.erase_recipient_from_events(person jsonb) returns bigint
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
                        bounce_reason_of(email_events.workspace_id, email_events.event_id)
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
        user_agent = pseudonymize(user_agent, person),
        sequence_id = pseudonymize(sequence_id, person),
        step = pseudonymize(step, person),
        variant = pseudonymize(variant, person),
        tags = case
            when tags is not null
                then array(
                    select pseudonymize(tag.value, person) from unnest(tags) with ordinality as tag (value, place)
                    order by tag.place
                )
        end
    where
        (in_workspace is null or workspace_id = in_workspace)
        and (
            message_id ~ hashes
            or (
                may_be_mentioned(
                    concat_ws(
                        ' ', event_id, message_id, recipient_domain, diagnostic, url, user_agent, sequence_id, step, variant,
                        array_to_string(tags, ' ')
                    ),
                    person
                )
                and is_mentioned(
                    concat_ws(
                        ' ', event_id, message_id, recipient_domain, diagnostic, url, user_agent, sequence_id, step, variant,
                        array_to_string(tags, ' ')
                    ),
                    person
                )
            )
        );
    get diagnostics others = row_count;
    drop table pg_temp.erased_values;
    return events + others;
end
$$;

reset role;
