{{
    config(
        unique_key=['workspace_id', 'rejected_event_id', 'problem'],
        meta={
            'recompute_scope': "standing.loaded_at >= coalesce((select min(given.loaded_at) from given), 'infinity')",
        },
    )
}}

{%- set adds = is_incremental_run() %}
{%- set loaded_after = loaded_after() if adds else '-infinity' %}

with events as not materialized (
    select * from {{ ref('fct_email_events') }}
    where {{ is_current() }}
),

{{ landed_events(loaded_after) }},

unusable as (
    select
        workspace_id,
        {{ rejection_reason() }} as problem,
        provider,
        event_id,
        message_id,
        event_type,
        occurred_at,
        loaded_at
    from landed
    -- an equation, of which the planner expects few rows
    where case when {{ is_valid_event() }} then 'usable' else 'unusable' end = 'unusable'
),

usable as not materialized (
    select * from landed
    where {{ is_valid_event() }}
),

{% if not adds -%}
-- at first, only what landed more than once need be compared; later, the one before can have landed long ago
landed_again as materialized (
    select
        workspace_id,
        event_id
    from (
        -- a window and no group: it is sorted by many processes, whatever the planner thinks of how many events there are
        select
            workspace_id,
            event_id,
            row_number() over (partition by workspace_id, event_id) as landing_number
        from usable
    ) as numbered
    where landing_number = {{ 1 if var('recompute') else 2 }}
),

{% endif -%}
comparable as {{ 'not ' if adds }}materialized (
    select
        workspace_id,
        event_id,
        provider,
        message_id,
        event_type,
        occurred_at,
        loaded_at,
        coalesce(campaign_id, '') as campaign_id,
        coalesce(mailbox_id, '') as mailbox_id,
        coalesce(domain_id, '') as domain_id
    from {{ 'usable' if adds else 'landed_again inner join usable using (workspace_id, event_id)' }}
),

-- the first landing of an event counts; another that says something else does not, and somebody should know
conflicting_duplicate as (
    select
        comparable.workspace_id,
        'conflicting_duplicate' as problem,
        comparable.provider,
        comparable.event_id,
        comparable.message_id,
        comparable.event_type,
        comparable.occurred_at,
        comparable.loaded_at
    from comparable
    inner join {{ lateral_lookup('events', ['workspace_id', 'event_id'], of='comparable') }} as events on true
    where
        comparable.loaded_at >= events.loaded_at
        and (
            comparable.message_id,
            comparable.event_type,
            comparable.occurred_at,
            comparable.campaign_id,
            comparable.mailbox_id,
            comparable.domain_id
        ) is distinct from (
            events.message_id,
            events.event_type,
            events.occurred_at,
            events.campaign_id,
            events.mailbox_id,
            events.domain_id
        )
),

-- taken up, and counted nowhere
unknown_types as (
    select
        workspace_id,
        'unknown_event_type' as problem,
        provider,
        event_id,
        message_id,
        event_type,
        occurred_at,
        loaded_at
    from events
    where
        event_type not in (
            'queued', 'sent', 'delivered', 'deferred', 'bounced', 'rejected', 'failed', 'opened', 'clicked', 'replied',
            'autoresponded', 'complained', 'unsubscribed', 'subscribed'
        )
        and valid_from > {{ watermark() if adds else 0 }}
),

set_aside as (
    select * from unusable
    union all
    select * from conflicting_duplicate
    union all
    select * from unknown_types
)

-- distinct: the same twice at the same moment is one
select distinct
    coalesce(workspace_id, '') as workspace_id,
    md5(row(provider, event_id, message_id, event_type, occurred_at, loaded_at)::text) as rejected_event_id,
    problem,
    provider,
    event_id,
    message_id,
    event_type,
    occurred_at,
    loaded_at,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from set_aside
