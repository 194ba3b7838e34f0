-- Inserts the incoming webhook bodies. Returns one row with the number of inserted bodies, and one row for each rejected body: its
-- place in the batch and the reason.
with checked as materialized (
    select
        document,
        body,
        app.unreadable_body_reason(body) as reason
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
    reason,
    null
from checked
where reason is not null
