{{
    config(
        unique_key=['workspace_id', 'landing_id', 'problem'],
        meta={
            'recomputable': "standing.loaded_at >= coalesce((select min(given.loaded_at) from given), 'infinity')",
        },
    )
}}

{%- set adds = adds_to_what_is_there() %}
{%- set landed_after = landed_after() if adds else '-infinity' %}
{%- set events_of_landings = looked_up('events', ['workspace_id', 'event_id'], of='judged') if adds else 'events' %}

with events as not materialized (
    select * from {{ ref('fct_email_events') }}
    where valid_to = {{ still_standing() }}
),

{{ landed_events(landed_after) }},

judged as not materialized (
    select
        *,
        {{ unusable_because() }} as problem
    from landed
),

unusable as (
    select
        workspace_id,
        problem,
        provider,
        event_id,
        message_id,
        event_type,
        occurred_at,
        loaded_at
    from judged
    where problem is not null
),

-- the first landing of an event counts; a later one that says something else does not, and somebody should know
other_content as (
    select
        judged.workspace_id,
        'other_content' as problem,
        judged.provider,
        judged.event_id,
        judged.message_id,
        judged.event_type,
        judged.occurred_at,
        judged.loaded_at
    from judged
    inner join {{ events_of_landings }} as events
        on judged.workspace_id = events.workspace_id and judged.event_id = events.event_id
    where
        judged.problem is null
        and judged.loaded_at > events.loaded_at
        and (
            judged.message_id,
            judged.event_type,
            judged.occurred_at,
            coalesce(judged.campaign_id, ''),
            coalesce(judged.mailbox_id, ''),
            coalesce(judged.domain_id, '')
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
    select * from other_content
    union all
    select * from unknown_types
)

-- distinct: the same twice at the same moment is one
select distinct
    coalesce(workspace_id, '') as workspace_id,
    md5(row(provider, event_id, message_id, event_type, occurred_at, loaded_at)::text) as landing_id,
    problem,
    provider,
    event_id,
    message_id,
    event_type,
    occurred_at,
    loaded_at,
    {{ batch_id() }}::bigint as valid_from,
    {{ still_standing() }}::bigint as valid_to
from set_aside
