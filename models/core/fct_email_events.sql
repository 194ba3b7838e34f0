{{
    config(
        unique_key=['workspace_id', 'event_id'],
        indexes=[{'columns': ['workspace_id', 'message_id']}],
        meta={
            'recomputable': "standing.loaded_at >= coalesce((select min(given.loaded_at) from given), 'infinity')",
        },
    )
}}

{%- set adds = adds_to_what_is_there() %}
{%- set landed_after = landed_after() if adds else '-infinity' %}

with bounce_patterns as (
    select * from {{ ref('bounce_patterns') }}
),

bounce_reasons as (
    select * from {{ ref('bounce_reasons') }}
),

{{ landed_events(landed_after) }},

-- the others are counted in data_quality
usable as (
    select * from landed
    where {{ unusable_because() }} is null
),

-- of several landings of an event the first is taken; the columns after loaded_at only make the choice repeatable
numbered as (
    select
        *,
        row_number() over (
            partition by workspace_id, event_id
            order by loaded_at, occurred_at, message_id, event_type, provider
        ) as landing_number
    from usable
),

first_landings as not materialized (
    select
        *,
        {{ still_standing() }}::bigint as valid_to
    from numbered
    where landing_number = 1
),

-- one that is known is never replaced by a later landing, whatever that says
new_events as not materialized (
    select first_landings.*
    from first_landings
    {%- if adds %}
    left join {{ looked_up(this, ['workspace_id', 'event_id', 'valid_to'], of='first_landings') }} as known_event on true
    where known_event.event_id is null
    {%- endif %}
),

taken_up as (
    select
        *,
        case
            when event_type = 'bounced'
                then {{ bounce_reason_of('new_events', 'bounce_patterns') }}
        end as bounce_reason
    from new_events
)

select
    taken_up.workspace_id,
    taken_up.event_id,
    taken_up.message_id,
    taken_up.provider,
    taken_up.provider_message_id,
    coalesce(taken_up.campaign_id, '') as campaign_id,
    coalesce(taken_up.mailbox_id, '') as mailbox_id,
    coalesce(taken_up.domain_id, '') as domain_id,
    taken_up.recipient_hash,
    coalesce(taken_up.recipient_domain, '') as recipient_domain,
    taken_up.event_type,
    taken_up.smtp_status,
    taken_up.smtp_code,
    taken_up.bounce_type,
    taken_up.bounce_reason,
    taken_up.diagnostic,
    taken_up.url,
    taken_up.user_agent,
    bounce_reasons.is_hard as is_hard_bounce,
    taken_up.is_machine,
    taken_up.occurred_at,
    taken_up.loaded_at,
    {{ batch_id() }}::bigint as valid_from,
    taken_up.valid_to
from taken_up
left join bounce_reasons on taken_up.bounce_reason = bounce_reasons.bounce_reason
