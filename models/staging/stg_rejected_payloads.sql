with webhook_payloads as (
    select * from {{ source('raw', 'webhook_payloads') }}
    where {{ is_not_set_aside() }}
),

kept_payloads as (
    select * from {{ source('raw', 'rejected_payloads') }}
),

webhook_payloads_with_problem as (
    select
        webhook_payloads.payload_id,
        webhook_payloads.provider,
        webhook_payloads.workspace_id,
        webhook_payloads.loaded_at,
        webhook_payloads.loaded_xid,
        coalesce(problems.problem, case when not objects.has_object then 'unreadable_body' end) as problem
    from webhook_payloads
    -- decompressed once
    cross join lateral unnest(array[webhook_payloads.payload #> '{}']) as plain (payload)
    cross join lateral unnest(array[{{ body_problem('plain.payload') }}]) as problems (problem)
    cross join lateral unnest(array[
        case jsonb_typeof(plain.payload)
            when 'object' then true
            when 'array' then jsonb_path_exists(plain.payload, 'strict $[*] ? (@.type() == "object")')
            else false
        end
    ]) as objects (has_object)
)

select
    provider,
    {{ as_id('workspace_id') }} as workspace_id,
    'webhook_payloads ' || payload_id as rejected_payload_key,
    problem,
    loaded_at,
    loaded_xid
from webhook_payloads_with_problem
where problem is not null
union all
select
    provider,
    {{ as_id('workspace_id') }} as workspace_id,
    'rejected_payloads ' || rejected_payload_id as rejected_payload_key,
    problem,
    loaded_at,
    loaded_xid
from kept_payloads
