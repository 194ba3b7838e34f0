{{
    config(
        unique_key=['workspace_id', 'event_id'],
        indexes=[{'columns': ['workspace_id', 'message_id']}],
        meta={
            'insert_only': true,
            'recompute_scope': "standing.loaded_at >= coalesce((select min(given.loaded_at) from given), 'infinity')",
        },
    )
}}

{%- set adds = is_incremental_run() %}
{%- set loaded_after = loaded_after() if adds else '-infinity' %}

with bounce_patterns as (
    select * from {{ ref('bounce_patterns') }}
),

bounce_reasons as (
    select * from {{ ref('bounce_reasons') }}
),

{{ landed_events(loaded_after) }},

-- many bounces say the same, and the rules' expressions are dear
bounces as materialized (
    select distinct
        smtp_status,
        smtp_code,
        diagnostic,
        {{ bounce_key('landed') }} as bounce_key
    from landed
    where event_type = 'bounced'
),

reasoned as (
    select
        bounce_key,
        {{ classify_bounce('bounces', 'bounce_patterns') }} as bounce_reason
    from bounces
),

classified as materialized (
    select
        reasoned.bounce_key,
        reasoned.bounce_reason,
        bounce_reasons.is_hard as is_hard_bounce
    from reasoned
    inner join bounce_reasons on reasoned.bounce_reason = bounce_reasons.bounce_reason
),

-- the others are counted in data_quality; of several landings of an event the first is taken; of those of one moment always the
-- same, by what they say (no collation is named: each would be one column more to sort)
first_landings as (
    select distinct on (workspace_id, event_id) *
    from landed
    where {{ is_valid_event() }}
    order by
        workspace_id, event_id, loaded_at, occurred_at, message_id, event_type, provider, campaign_id, mailbox_id, domain_id,
        is_machine, smtp_status, smtp_code, diagnostic, url
),

-- one that is known is never replaced by a later landing, whatever that says
unknown_events as not materialized (
    select first_landings.*
    from first_landings
    {%- if adds %}
    left join {{ lateral_lookup(this, ['workspace_id', 'event_id'], of='first_landings') }} as known_event on true
    where known_event.event_id is null
    {%- endif %}
),

-- as late as this, so that many processes can sort what landed
new_events as (
    select
        unknown_events.*,
        classified.bounce_reason,
        classified.is_hard_bounce
    from unknown_events
    left join classified
        on case when unknown_events.event_type = 'bounced' then {{ bounce_key('unknown_events') }} end = classified.bounce_key
)

select
    new_events.workspace_id,
    new_events.event_id,
    new_events.message_id,
    new_events.provider,
    new_events.provider_message_id,
    coalesce(new_events.campaign_id, '') as campaign_id,
    coalesce(new_events.mailbox_id, '') as mailbox_id,
    coalesce(new_events.domain_id, '') as domain_id,
    new_events.recipient_hash,
    coalesce(new_events.recipient_domain, '') as recipient_domain,
    new_events.event_type,
    new_events.smtp_status,
    new_events.smtp_code,
    new_events.bounce_type,
    new_events.bounce_reason,
    new_events.diagnostic,
    new_events.url,
    new_events.user_agent,
    new_events.is_hard_bounce,
    new_events.is_machine,
    new_events.occurred_at,
    new_events.loaded_at,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from new_events
