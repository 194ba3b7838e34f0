with webhook_payloads as (
    select * from {{ source('raw', 'webhook_payloads') }}
    where {{ is_not_excluded() }}
),

kept_payloads as (
    select * from {{ source('raw', 'rejected_payloads') }}
),

formats (provider, ordinary, event, kinds, paths) as (
    values
    {%- for provider in webhook_formats() %}
    {%- set format = webhook_format(provider) %}
    ('{{ provider }}', {{ format.ordinary }}, {{ format.event }}, {{ format.kinds }}, {{ format.paths }}){{ ',' if not loop.last }}
    {%- endfor %}
),

-- a body that is no ordinary event alone
unusual_payloads as (
    select
        webhook_payloads.payload_id,
        webhook_payloads.provider,
        webhook_payloads.workspace_id,
        webhook_payloads.loaded_at,
        webhook_payloads.loaded_xid,
        plain.payload,
        formats.ordinary,
        formats.event,
        formats.kinds,
        formats.paths,
        case
            when formats.provider is null then 'unknown_provider'
            when problems.problem is not null then problems.problem
            when plain.payload = '[]' then 'empty_body'
            when jsonb_typeof(plain.payload) not in ('object', 'array') then 'unreadable_body'
        end as problem
    from webhook_payloads
    left join formats on webhook_payloads.provider = formats.provider
    -- decompressed once
    cross join lateral unnest(array[webhook_payloads.payload #> '{}']) as plain (payload)
    cross join lateral unnest(array[{{ body_problem('plain.payload') }}]) as problems (problem)
    where
        problems.problem is not null
        or jsonb_typeof(plain.payload) <> 'object'
        or not coalesce(plain.payload @@ formats.ordinary, false)
),

-- Each part of a body that is no event. A body without any event that is unreadable as a whole counts once. No CTE is read twice:
-- PostgreSQL would compute it for all bodies, whatever loaded_xid the reader asks for.
problems as (
    select
        unusual_payloads.payload_id,
        unusual_payloads.provider,
        unusual_payloads.workspace_id,
        unusual_payloads.loaded_at,
        unusual_payloads.loaded_xid,
        parts.part,
        parts.kind as problem
    from unusual_payloads
    cross join lateral (
        select
            unusual_payloads.problem as kind,
            1 as part,
            false as is_unreadable
        where unusual_payloads.problem is not null
        union all
        select
            unpacked.kind,
            row_number() over () as part,
            bool_and(unpacked.kind is not distinct from 'unreadable_body') over () as is_unreadable
        from (
            {{ unpacked_elements('unusual_payloads.payload', 'unusual_payloads.ordinary', 'unusual_payloads.event',
                                 'unusual_payloads.kinds', 'unusual_payloads.paths') | indent(12) }}
        ) as unpacked
        where unusual_payloads.problem is null
    ) as parts
    where parts.kind is not null and (parts.part = 1 or not parts.is_unreadable)
)

select
    provider,
    {{ as_id('workspace_id') }} as workspace_id,
    'webhook_payloads ' || payload_id || case when part > 1 then ' ' || part else '' end as rejected_payload_key,
    problem,
    loaded_at,
    loaded_xid
from problems
union all
select
    provider,
    {{ as_id('workspace_id') }} as workspace_id,
    'rejected_payloads ' || rejected_payload_id as rejected_payload_key,
    problem,
    loaded_at,
    loaded_xid
from kept_payloads
