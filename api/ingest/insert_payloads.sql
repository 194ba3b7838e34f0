-- Inserts the incoming webhook bodies. Returns one row with the number of inserted bodies, and one row for each rejected body: its
-- place in the batch and the reason.
with parsed as materialized (
    select
        incoming.document,
        body.payload,
        body.reason
    from incoming
    cross join lateral app.parse_webhook_body(incoming.body) as body
),

inserted as (
    insert into raw.webhook_payloads (provider, workspace_id, payload)
    select
        %(provider)s,
        %(workspace_id)s,
        payload
    from parsed
    where reason is null
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
from parsed
where reason is not null
