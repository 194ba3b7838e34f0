-- Lands the events that have arrived, one an object or several in an array. Returns one row with the number landed and one an event
-- refused: its line, the reason, and its text. A recipient's address is hashed here and not
-- stored; addresses in texts and URLs are masked in staging's way before they are.
with checked as materialized (
    select
        line,
        body,
        (pg_input_error_info(body, 'jsonb')).message as reason
    from arriving
),

events as materialized (
    select
        checked.line,
        element.event,
        element.place
    from checked
    cross join lateral jsonb_path_query(
        case when checked.reason is null then checked.body::jsonb end, '$[*]'
    ) with ordinality as element (event, place)
),

fields (name, kind, is_needed) as (
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
        place,
        event
    from events
    where jsonb_typeof(event) = 'object'
),

given as materialized (
    select
        objects.line,
        objects.place,
        member.name,
        member.value
    from objects
    cross join lateral jsonb_each(objects.event) as member (name, value)
    where member.value <> 'null'
),

faults as (
    select
        given.line,
        given.place,
        case
            when fields.name is null then 'unknown field ' || given.name
            when jsonb_typeof(given.value) <> fields.kind then given.name || ' is not a ' || fields.kind
            when given.name = 'occurred_at' then 'occurred_at is no time: ' || (given.value #>> '{}')
            else 'smtp_code is no whole number: ' || (given.value #>> '{}')
        end as fault
    from given
    left join fields on given.name = fields.name
    where
        fields.name is null
        or jsonb_typeof(given.value) <> fields.kind
        or (given.name = 'occurred_at' and not pg_input_is_valid(given.value #>> '{}', 'timestamptz'))
        or (given.name = 'smtp_code' and not pg_input_is_valid(given.value #>> '{}', 'int'))
    union all
    select
        objects.line,
        objects.place,
        'no ' || fields.name
    from objects
    inner join fields on fields.is_needed
    where coalesce(objects.event ->> fields.name, '') = ''
),

refused as materialized (
    select
        line,
        place,
        string_agg(fault, ', ' order by fault) as reason
    from faults
    group by line, place
),

landed as (
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
    left join refused on objects.line = refused.line and objects.place = refused.place
    where refused.line is null
    order by objects.line, objects.place
    returning 1
)

select
    null::bigint as line,
    count(*) as landed,
    null::text as reason,
    null::text as body
from landed
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
    refused.line,
    null,
    refused.reason,
    objects.event::text
from refused
inner join objects on refused.line = objects.line and refused.place = objects.place
