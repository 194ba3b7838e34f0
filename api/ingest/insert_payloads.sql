-- Inserts the incoming webhook bodies. Returns one row with the number of inserted bodies, and one row for each rejected body: its
-- place in the batch and the reason.
with checked as materialized (
    select
        document,
        body,
        (pg_input_error_info(body, 'jsonb')).message as reason
    from incoming
),

parsed as materialized (
    select
        document,
        body::jsonb as payload
    from checked
    where reason is null
),

inserted as (
    insert into raw.webhook_payloads (provider, workspace_id, payload)
    select
        %(provider)s,
        %(workspace_id)s,
        payload
    from parsed
    where jsonb_typeof(payload) in ('object', 'array')
    order by document
    returning 1
)

select
    null::bigint as document,
    count(*) as inserted,
    null::text as problem,
    null::text as reason,
    null::bigint as place
from inserted
union all
select
    document,
    null,
    'unreadable_body',
    'not JSON: ' || left(reason, 500),
    null
from checked
where reason is not null
union all
select
    document,
    null,
    'unreadable_body',
    'a JSON ' || jsonb_typeof(payload) || ', not an object or an array',
    null
from parsed
where jsonb_typeof(payload) not in ('object', 'array')
