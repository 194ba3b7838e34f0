-- Inserts the incoming events: one as an object, or several in an array. Returns one row with the number of inserted events, and
-- one row for each rejected event: its line, the reason and its text. A recipient's address is hashed and not stored. Addresses in
-- texts and URLs are masked, as in staging.
with checked as materialized (
    select
        line,
        body,
        (pg_input_error_info(body, 'jsonb')).message as reason
    from incoming
),

events as materialized (
    select
        checked.line,
        element.event,
        element.ordinal
    from checked
    cross join lateral jsonb_path_query(
        case when checked.reason is null then checked.body::jsonb end, '$[*]'
    ) with ordinality as element (event, ordinal)
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
            when fields.name is null then 'unknown field ' || members.name
            when jsonb_typeof(members.value) <> fields.kind then members.name || ' is not a ' || fields.kind
            when members.name = 'occurred_at' then 'occurred_at is not a time: ' || (members.value #>> '{}')
            else 'smtp_code is not a whole number: ' || (members.value #>> '{}')
        end as problem
    from members
    left join fields on members.name = fields.name
    where
        fields.name is null
        or jsonb_typeof(members.value) <> fields.kind
        or (members.name = 'occurred_at' and not pg_input_is_valid(members.value #>> '{}', 'timestamptz'))
        or (members.name = 'smtp_code' and not pg_input_is_valid(members.value #>> '{}', 'int'))
    union all
    select
        objects.line,
        objects.ordinal,
        'no ' || fields.name
    from objects
    inner join fields on fields.is_required
    where coalesce(objects.event ->> fields.name, '') = ''
),

rejected as materialized (
    select
        line,
        ordinal,
        string_agg(problem, ', ' order by problem) as reason
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
        (objects.event ->> 'occurred_at')::timestamptz,
        objects.event ->> 'campaign_id',
        objects.event ->> 'mailbox_id',
        objects.event ->> 'domain_id',
        coalesce(objects.event ->> 'recipient_hash', app.recipient_hash(objects.event ->> 'recipient')),
        coalesce(objects.event ->> 'recipient_domain', app.recipient_domain(objects.event ->> 'recipient')),
        objects.event ->> 'smtp_status',
        (objects.event ->> 'smtp_code')::int,
        app.mask_addresses(objects.event ->> 'diagnostic'),
        (objects.event ->> 'is_machine')::boolean,
        app.mask_addresses(objects.event ->> 'url'),
        objects.event ->> 'user_agent'
    from objects
    left join rejected on objects.line = rejected.line and objects.ordinal = rejected.ordinal
    where rejected.line is null
    order by objects.line, objects.ordinal
    returning 1
)

select
    null::bigint as line,
    count(*) as inserted,
    null::text as reason,
    null::text as body
from inserted
union all
select
    line,
    null,
    'not JSON: ' || reason,
    null
from checked
where reason is not null
union all
select
    line,
    null,
    'a JSON ' || jsonb_typeof(event) || ', not an object',
    event::text
from events
where jsonb_typeof(event) <> 'object'
union all
select
    rejected.line,
    null,
    rejected.reason,
    objects.event::text
from rejected
inner join objects on rejected.line = objects.line and rejected.ordinal = objects.ordinal
