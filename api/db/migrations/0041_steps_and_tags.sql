-- depends: 0039_parallel_staging

-- What a message was in a sequence of mails (sequence_id, step, variant), and its tags, from the raw log to core.
set local role mailmart_owner;

alter table raw.email_events
add column sequence_id text,
add column step text,
add column variant text,
add column tags text[];

-- The tags of an event: trimmed, without addresses, each once and in their order; the first 20, each cut to 400 characters. Null if
-- none is left.
create function app.clean_tags(tags text[]) returns text[]
language sql immutable strict parallel safe
set search_path = app, pg_temp
as $$
    select array_agg(first_tags.tag order by first_tags.place)
    from (
        select
            cleaned.tag,
            min(cleaned.place) as place
        from (
            select
                left(btrim(mask_addresses(clip_text(entries.tag)), e' \t\n\r'), 400) as tag,
                entries.place
            from unnest(tags[:1000]) with ordinality as entries (tag, place)
        ) as cleaned
        where cleaned.tag <> ''
        group by cleaned.tag
        order by place
        limit 20
    ) as first_tags
$$;

-- The tags in a provider's body: one text, or an array of them. Whatever else an array has is no tag.
create function app.tags_of(tags jsonb) returns text[]
language sql immutable strict parallel safe
set search_path = app, pg_temp
as $$
    select clean_tags(array_agg(entries.tag #>> '{}' order by entries.place))
    from (
        select
            elements.tag,
            elements.place
        from jsonb_array_elements(
            case when jsonb_typeof(tags) = 'array' then tags else jsonb_build_array(tags) end
        ) with ordinality as elements (tag, place)
        limit 1000
    ) as entries
    where jsonb_typeof(entries.tag) in ('string', 'number')
$$;

-- Native events. An event without a recipient is the recipient's if its message is.
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
