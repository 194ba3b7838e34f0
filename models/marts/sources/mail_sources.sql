-- As the tables are now, not as of the batch: whoever connects a provider sees its first body before a build has counted it
with webhook_sources as (
    select
        source_id,
        workspace_id,
        provider,
        name,
        created_at,
        revoked_at,
        last_body_at,
        last_rejected_at,
        last_rejection,
        last_signature_failure_at,
        last_signature_failure
    from {{ source('app', 'webhook_sources') }}
),

webhook_source_days as (
    select
        source_id,
        bodies,
        rejected,
        signature_failures
    from {{ source('app', 'webhook_source_days') }}
    where {{ is_in_window('day') }}
),

event_days as (
    select
        workspace_id,
        provider
    from {{ ref('fct_event_days') }} as fct_event_days
    where {{ is_visible_as_of('fct_event_days') }}
),

received_in_window as (
    select
        source_id,
        sum(bodies)::bigint as bodies,
        sum(rejected)::bigint as bodies_rejected,
        sum(signature_failures)::bigint as signature_failures
    from webhook_source_days
    group by source_id
),

sources as (
    select
        webhook_sources.workspace_id,
        webhook_sources.source_id,
        webhook_sources.provider,
        webhook_sources.name,
        case when webhook_sources.revoked_at is null then 'active' else 'revoked' end as status,
        app.is_webhook_source_signed(webhook_sources.source_id) as is_signed,
        webhook_sources.created_at,
        webhook_sources.revoked_at,
        coalesce(received_in_window.bodies, 0) as bodies,
        coalesce(received_in_window.bodies_rejected, 0) as bodies_rejected,
        coalesce(received_in_window.signature_failures, 0) as signature_failures,
        webhook_sources.last_body_at,
        webhook_sources.last_rejected_at,
        webhook_sources.last_rejection,
        webhook_sources.last_signature_failure_at,
        webhook_sources.last_signature_failure
    from webhook_sources
    left join received_in_window on webhook_sources.source_id = received_in_window.source_id
),

-- mail of files and of POST /events
providers_without_source as (
    select distinct
        event_days.workspace_id,
        event_days.provider
    from event_days
    left join webhook_sources
        on event_days.workspace_id = webhook_sources.workspace_id and event_days.provider = webhook_sources.provider
    where webhook_sources.source_id is null
),

all_sources as (
    select * from sources
    union all
    select
        workspace_id,
        null as source_id,
        provider,
        null as name,
        'no_source' as status,
        null as is_signed,
        null as created_at,
        null as revoked_at,
        null as bodies,
        null as bodies_rejected,
        null as signature_failures,
        null as last_body_at,
        null as last_rejected_at,
        null as last_rejection,
        null as last_signature_failure_at,
        null as last_signature_failure
    from providers_without_source
)

select
    *,
    {{ advice_for_source() }} as advice
from all_sources
order by workspace_id collate "C", provider collate "C", created_at, source_id collate "C"
