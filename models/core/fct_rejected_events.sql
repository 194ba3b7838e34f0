{{
    config(
        unique_key=['workspace_id', 'rejected_event_id', 'problem'],
        meta={
            'reads_raw': true,
            'recompute_scope': is_in_every_raw_log(),
        },
    )
}}

{%- set is_incremental_run = is_incremental_run() %}
{%- set was_loaded_after_closing = 'false' %}
{%- if has_removed_rows('fct_email_events') %}
    {%- set was_loaded_after_closing = 'true' if is_incremental_run and not reads_everything()
        else 'valid_events.loaded_at > closed_message.counted_until' %}
{%- endif %}
{%- set providers = newly_loaded_providers() %}
{%- set sources = sources_of_events(providers) %}
{#- an equation, of which the planner expects few rows #}
{%- set is_invalid = "case when " ~ is_valid_event() ~ " then 'valid' else 'invalid' end = 'invalid'" %}
{%- set key_hash = 'hashtextextended(event_id, hashtextextended(workspace_id, 0))' %}

with events as not materialized (
    select * from {{ ref('fct_email_events') }}
    where {{ is_current() }}
),

{% for source, condition in sources.items() -%}
-- A first build reads the native log in parallel, and the bodies of webhooks once.
{{ source }}_events as {{ 'not ' if source == 'native' or is_incremental_run }}materialized (
    select
        provider,
        event_id,
        workspace_id,
        message_id,
        campaign_id,
        mailbox_id,
        domain_id,
        event_type,
        occurred_at,
        loaded_at
    from {{ loaded_events_of(ref('int_loaded_events'), source, providers) }}
    where
        {{ condition }}
        and {{ is_newly_loaded() }}
),

{% endfor -%}
-- a later build reads little, and reads it once
loaded_events as {{ 'not ' if not is_incremental_run }}materialized (
    {%- for source in sources %}
    select * from {{ source }}_events
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
),

rejected_payloads as (
    select * from {{ ref('stg_rejected_payloads') }}
    where {{ is_newly_loaded() }}
),

-- a whole body is one row, whose key is its own
unread_payloads as (
    select
        workspace_id,
        problem,
        provider,
        rejected_payload_key as event_id,
        null::text as message_id,
        null::text as event_type,
        null::timestamptz as occurred_at,
        loaded_at
    from rejected_payloads
),

valid_events as not materialized (
    select * from loaded_events
    where {{ is_valid_event() }}
),

{% if not is_incremental_run -%}
-- A hash of the key, because numbers are sorted in a fraction of the time. Two keys with one hash are compared for nothing. The
-- native log by itself: PostgreSQL does not sort anything in parallel together with the events of webhooks.
{%- for source in sources %}
sorted_{{ source }}_keys as (
    select {{ key_hash }} as key_hash
    from {{ source }}_events
    where {{ is_valid_event() }}
    order by key_hash
),
{% endfor %}
sorted_keys as (
    {%- for source in sources %}
    select * from sorted_{{ source }}_keys
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
),

-- a first build compares only events that were loaded more than once. A later one compares all: the first copy can be old.
loaded_again as materialized (
    -- distinct, so that the planner knows that few rows have one hash, and joins by it: it would sort all events instead
    select distinct key_hash
    from (
        -- a window, because it is sorted in parallel, however many events the planner expects; a group by is not
        select
            key_hash,
            row_number() over (partition by key_hash) as copy_number
        from sorted_keys
    ) as numbered
    where copy_number = {{ 1 if var('recompute') else 2 }}
),

-- invalid events and copies, in one pass over the logs
unusual_events as materialized (
    select loaded_events.*
    from loaded_events
    left join loaded_again
        on case when {{ is_valid_event() }} then {{ key_hash }} end = loaded_again.key_hash
    where loaded_again.key_hash is not null or {{ is_invalid }}
),

{% endif -%}
invalid_events as (
    select
        workspace_id,
        {{ rejection_reason() }} as problem,
        provider,
        event_id,
        message_id,
        event_type,
        occurred_at,
        loaded_at
    from {{ 'loaded_events' if is_incremental_run else 'unusual_events' }}
    where {{ is_invalid }}
),

comparable_events as not materialized (
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
    from {{ 'loaded_events' if is_incremental_run else 'unusual_events' }}
    where {{ is_valid_event() }}
),

-- the first copy of an event that a build reads counts; another one with other content does not, and is reported, even if its
-- loaded_at is earlier
conflicting_duplicates as (
    select
        comparable_events.workspace_id,
        'conflicting_duplicate' as problem,
        comparable_events.provider,
        comparable_events.event_id,
        comparable_events.message_id,
        comparable_events.event_type,
        comparable_events.occurred_at,
        comparable_events.loaded_at
    from comparable_events
    inner join {{ lateral_lookup('events', ['workspace_id', 'event_id'], of='comparable_events') }} as events
        on {{ lookup_condition('events', ['workspace_id', 'event_id'], of='comparable_events') }}
    where
        (
            comparable_events.message_id,
            comparable_events.event_type,
            comparable_events.occurred_at,
            comparable_events.campaign_id,
            comparable_events.mailbox_id,
            comparable_events.domain_id
        ) is distinct from (
            {{ received_message_id('events') }},
            events.event_type,
            events.occurred_at,
            events.campaign_id,
            events.mailbox_id,
            events.domain_id
        )
),

-- kept in fct_email_events, and counted nowhere
unknown_event_types as (
    select
        workspace_id,
        coalesce({{ left_out_reason() }}, 'unknown_event_type') as problem,
        provider,
        event_id,
        {{ received_message_id('events') }} as message_id,
        event_type,
        occurred_at,
        loaded_at
    from events
    where
        event_type not in ({{ known_event_types() }})
        and valid_from > {{ watermark() if is_incremental_run else 0 }}
),

-- late events of messages whose events retention has removed, and copies of removed events, which nothing tells from late ones. A
-- build that reads rows again that were counted before the removal does not report them.
not_retained_events as (
    select
        valid_events.workspace_id,
        'message_not_retained' as problem,
        valid_events.provider,
        valid_events.event_id,
        valid_events.message_id,
        valid_events.event_type,
        valid_events.occurred_at,
        valid_events.loaded_at
    from valid_events
    inner join {{ closed_message(of='valid_events') }} as closed_message on true
    where {{ was_loaded_after_closing }}
),

rejected_events as (
    select * from invalid_events
    union all
    select * from conflicting_duplicates
    union all
    select * from unknown_event_types
    union all
    select * from unread_payloads
    union all
    select * from not_retained_events
)

-- distinct: equal events that were loaded at the same time are one row
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
from rejected_events
