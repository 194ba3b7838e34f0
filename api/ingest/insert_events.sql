-- Inserts the incoming events: one as an object, or several in an array. Returns one row with the number of inserted events, and
-- one row for each rejected event: its line, the reason and its position in the array. A recipient's address is hashed and not
-- stored. Addresses in texts and URLs are masked, as in staging. Nothing here turns a whole event into text: a number such as
-- 1e131071 has 131,072 digits there.
with checked as materialized (
    select
        line,
        body,
        (pg_input_error_info(body, 'jsonb')).message as reason
    from incoming
),

parsed as materialized (
    select
        line,
        body::jsonb as payload
    from checked
    where reason is null
),

events as materialized (
    select
        parsed.line,
        elements.event,
        elements.ordinal
    from parsed
    -- not jsonb_path_query(), whose time is quadratic
    cross join lateral jsonb_array_elements(
        case when jsonb_typeof(parsed.payload) = 'array' then parsed.payload end
    ) with ordinality as elements (event, ordinal)
    union all
    select
        line,
        payload,
        1
    from parsed
    where jsonb_typeof(payload) <> 'array'
),

fields (name, kind, is_required) as (
    values
    ('event_id', 'string', true),
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
        line,
        ordinal,
        event
    from events
    where jsonb_typeof(event) = 'object'
),

members as materialized (
    select
        objects.line,
        objects.ordinal,
        member.name,
        member.value
    from objects
    cross join lateral jsonb_each(objects.event) as member (name, value)
    where member.value <> 'null'
),

problems as (
    select
        members.line,
        members.ordinal,
        case
            when fields.name is null then 'unknown field ' || left(members.name, 100)
            when fields.kind = 'array' then members.name || ' is not an array of strings'
            when jsonb_typeof(members.value) <> fields.kind then members.name || ' is not a ' || fields.kind
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
        or (members.name = 'occurred_at' and app.parse_native_time(members.value #>> '{}') is null)
        or (members.name = 'smtp_code' and not pg_input_is_valid(members.value #>> '{}', 'int'))
    union all
    select
        objects.line,
        objects.ordinal,
        'no ' || fields.name,
        false
    from objects
    inner join fields on fields.is_required
    where coalesce(objects.event -> fields.name, 'null') in ('null', '""')
),

rejected as materialized (
    select
        line,
        ordinal,
        left(string_agg(problem, ', ' order by problem), 500) as reason,
        case when bool_and(is_about_time) then 'not_rfc3339' else 'invalid_event' end as problem
    from problems
    group by line, ordinal
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
        %(workspace_id)s,
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
    left join rejected on objects.line = rejected.line and objects.ordinal = rejected.ordinal
    where rejected.line is null
    order by objects.line, objects.ordinal
    returning 1
)

select
    null::bigint as line,
    count(*) as inserted,
    null::text as problem,
    null::text as reason,
    null::bigint as ordinal
from inserted
union all
select
    line,
    null,
    'unreadable_body',
    'not JSON: ' || left(reason, 500),
    null
from checked
where reason is not null
union all
select
    line,
    null,
    'invalid_event',
    'a JSON ' || jsonb_typeof(event) || ', not an object',
    ordinal
from events
where jsonb_typeof(event) <> 'object'
union all
select
    line,
    null,
    problem,
    reason,
    ordinal
from rejected
