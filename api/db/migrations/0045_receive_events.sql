-- depends: 0041_steps_and_tags

-- Native events from files and over HTTP go through one function, and API keys can have the scope `ingest`.
set local role mailmart_owner;

alter table app.api_keys drop constraint api_keys_scopes_check;
alter table app.api_keys add constraint api_keys_scopes_check
check (scopes <@ array['read', 'export', 'reports', 'ingest']);

-- Inserts the events of some documents: one as an object, or several in an array. Returns one row with the number of inserted
-- events, and one row for each that is rejected: the document's place from 1, the event's place in the document's array, and why.
-- A recipient's address is hashed and not stored. Addresses in texts and URLs are masked, as in staging. Nothing here turns a whole
-- event into text: a number such as 1e131071 has 131,072 digits there.
create function app.insert_native_events(of_workspace_id text, documents text[])
returns table (document bigint, inserted bigint, problem text, reason text, place bigint)
language sql
set search_path = pg_catalog, pg_temp
-- the number of documents is unknown when the statement is planned; a nested loop over thousands of them takes minutes
set enable_nestloop = off
as $$
with checked as materialized (
    select
        incoming.document,
        incoming.body,
        (pg_input_error_info(incoming.body, 'jsonb')).message as reason
    from unnest(documents) with ordinality as incoming (body, document)
),

parsed as materialized (
    select
        checked.document,
        checked.body::jsonb as payload
    from checked
    where checked.reason is null
),

events as materialized (
    select
        parsed.document,
        elements.event,
        elements.place
    from parsed
    -- not jsonb_path_query(), whose time is quadratic
    cross join lateral jsonb_array_elements(
        case when jsonb_typeof(parsed.payload) = 'array' then parsed.payload end
    ) with ordinality as elements (event, place)
    union all
    select
        parsed.document,
        parsed.payload,
        1
    from parsed
    where jsonb_typeof(parsed.payload) <> 'array'
),

fields (name, kind, is_required) as (
    values
    ('event_id', 'string', true),
    ('workspace_id', 'string', false),
    ('message_id', 'string', true),
    ('event_type', 'string', true),
    ('occurred_at', 'string', true),
    ('campaign_id', 'string', false),
    ('mailbox_id', 'string', false),
    ('domain_id', 'string', false),
    ('sequence_id', 'string', false),
    ('step', 'string', false),
    ('variant', 'string', false),
    ('tags', 'array', false),
    ('recipient', 'string', false),
    ('recipient_hash', 'string', false),
    ('recipient_domain', 'string', false),
    ('smtp_status', 'string', false),
    ('smtp_code', 'number', false),
    ('diagnostic', 'string', false),
    ('is_machine', 'boolean', false),
    ('url', 'string', false),
    ('user_agent', 'string', false)
),

objects as materialized (
    select
        events.document,
        events.place,
        events.event
    from events
    where jsonb_typeof(events.event) = 'object'
),

members as materialized (
    select
        objects.document,
        objects.place,
        member.name,
        member.value
    from objects
    cross join lateral jsonb_each(objects.event) as member (name, value)
    where member.value <> 'null'
),

problems as (
    select
        members.document,
        members.place,
        case
            when fields.name is null then 'unknown field ' || left(members.name, 100)
            when fields.kind = 'array' then members.name || ' is not an array of strings'
            when jsonb_typeof(members.value) <> fields.kind then members.name || ' is not a ' || fields.kind
            when members.name = 'workspace_id' then 'workspace_id is another workspace: ' || left(members.value #>> '{}', 100)
            when members.name = 'occurred_at'
                then 'occurred_at is not a time in RFC 3339 such as 2026-11-20T10:00:00Z: ' || left(members.value #>> '{}', 100)
            else 'smtp_code is not a whole number: ' || left(members.value #>> '{}', 100)
        end as problem,
        coalesce(fields.name = 'occurred_at', false) as is_about_time
    from members
    left join fields on members.name = fields.name
    where
        fields.name is null
        or jsonb_typeof(members.value) <> fields.kind
        or (fields.kind = 'array' and jsonb_path_exists(members.value, 'strict $[*] ? (@.type() != "string")'))
        or (members.name = 'workspace_id' and members.value #>> '{}' <> of_workspace_id)
        or (members.name = 'occurred_at' and app.parse_native_time(members.value #>> '{}') is null)
        or (members.name = 'smtp_code' and not pg_input_is_valid(members.value #>> '{}', 'int'))
    union all
    select
        objects.document,
        objects.place,
        'no ' || fields.name,
        false
    from objects
    inner join fields on fields.is_required
    where coalesce(objects.event -> fields.name, 'null') in ('null', '""')
),

rejected as materialized (
    select
        problems.document,
        problems.place,
        left(string_agg(problems.problem, ', ' order by problems.problem), 500) as reason,
        case when bool_and(problems.is_about_time) then 'not_rfc3339' else 'invalid_event' end as problem
    from problems
    group by problems.document, problems.place
),

inserted as (
    insert into raw.email_events (
        event_id,
        workspace_id,
        message_id,
        event_type,
        occurred_at,
        campaign_id,
        mailbox_id,
        domain_id,
        sequence_id,
        step,
        variant,
        tags,
        recipient_hash,
        recipient_domain,
        smtp_status,
        smtp_code,
        diagnostic,
        is_machine,
        url,
        user_agent
    )
    select
        objects.event ->> 'event_id',
        of_workspace_id,
        objects.event ->> 'message_id',
        objects.event ->> 'event_type',
        app.parse_native_time(objects.event ->> 'occurred_at'),
        objects.event ->> 'campaign_id',
        objects.event ->> 'mailbox_id',
        objects.event ->> 'domain_id',
        objects.event ->> 'sequence_id',
        objects.event ->> 'step',
        objects.event ->> 'variant',
        app.tags_of(objects.event -> 'tags'),
        coalesce(objects.event ->> 'recipient_hash', app.recipient_hash(left(objects.event ->> 'recipient', 4000))),
        coalesce(objects.event ->> 'recipient_domain', app.recipient_domain(left(objects.event ->> 'recipient', 4000))),
        objects.event ->> 'smtp_status',
        (objects.event ->> 'smtp_code')::int,
        app.mask_addresses(app.clip_text(objects.event ->> 'diagnostic')),
        (objects.event ->> 'is_machine')::boolean,
        app.mask_addresses(app.clip_text(objects.event ->> 'url')),
        app.clip_text(objects.event ->> 'user_agent')
    from objects
    left join rejected on objects.document = rejected.document and objects.place = rejected.place
    where rejected.document is null
    order by objects.document, objects.place
    returning 1
)

select
    null::bigint,
    count(*),
    null::text,
    null::text,
    null::bigint
from inserted
union all
select
    checked.document,
    null,
    'unreadable_body',
    'not JSON: ' || left(checked.reason, 500),
    null
from checked
where checked.reason is not null
union all
select
    events.document,
    null,
    'invalid_event',
    'a JSON ' || jsonb_typeof(events.event) || ', not an object',
    events.place
from events
where jsonb_typeof(events.event) <> 'object'
union all
select
    rejected.document,
    null,
    rejected.problem,
    rejected.reason,
    rejected.place
from rejected
$$;

-- The workspace of the request's credential.
create function app.request_workspace_id()
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    workspace constant text := nullif(current_setting('mailmart.workspace_id', true), '');
begin
    if workspace is null then
        raise exception 'mailmart.workspace_id is not set' using errcode = 'invalid_parameter_value';
    end if;
    if exists (select from app.erased_workspaces where erased_workspaces.workspace_id = workspace) then
        raise exception 'the workspace was erased' using errcode = 'MM006';
    end if;
    return workspace;
end
$$;

-- What the API may do with events: insert those of the request's workspace, through the function above.
create function app.receive_events(documents text[])
returns table (document bigint, inserted bigint, problem text, reason text, place bigint)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
begin
    if cardinality(documents) > 1000 or octet_length(array_to_string(documents, '')) > 10485760 then
        raise exception 'too many events' using errcode = 'invalid_parameter_value';
    end if;
    return query select * from app.insert_native_events(app.request_workspace_id(), documents);
end
$$;

-- Keeps rejected events of the request's workspace, as `mailmart ingest` does: the places in the request, from 0, and the texts.
create function app.keep_rejected_events(problems text[], reasons text[], places bigint[], texts text[])
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
    workspace constant text := app.request_workspace_id();
begin
    if cardinality(problems) > 1000 then
        raise exception 'too many events' using errcode = 'invalid_parameter_value';
    end if;
    insert into raw.rejected_payloads (provider, workspace_id, problem, reason, source, line, body, body_md5)
    select
        'native',
        workspace,
        left(rejects.problem, 100),
        left(rejects.reason, 1000),
        'POST /events',
        rejects.place,
        left(rejects.body, 16384),
        md5(row(rejects.reason, rejects.body)::text)
    from unnest(problems, reasons, places, texts) as rejects (problem, reason, place, body)
    on conflict do nothing;
end
$$;

revoke execute on function app.insert_native_events(text, text[]) from public;
revoke execute on function app.request_workspace_id() from public;
revoke execute on function app.receive_events(text[]) from public;
revoke execute on function app.keep_rejected_events(text[], text[], bigint[], text[]) from public;
grant execute on function app.receive_events(text[]) to mailmart_api;
grant execute on function app.keep_rejected_events(text[], text[], bigint[], text[]) to mailmart_api;

reset role;
