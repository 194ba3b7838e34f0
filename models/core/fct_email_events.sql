{{
    config(
        unique_key=['workspace_id', 'event_id'],
        indexes=[{'columns': ['workspace_id', 'message_id']}],
        meta={
            'recomputable': "standing.loaded_at >= coalesce((select min(given.loaded_at) from given), 'infinity')",
        },
    )
}}

{%- set event_views = [
    'stg_native_events',
    'stg_sendgrid_events',
    'stg_ses_events',
    'stg_postmark_events',
    'stg_mailgun_events',
] %}
{%- set adds = adds_to_what_is_there() %}
{%- set landed_after = landed_after() if adds else '-infinity' %}

with
{% for event_view in event_views %}
{{ event_view | replace('stg_', '') }} as not materialized (
    select * from {{ ref(event_view) }}
    where loaded_at > '{{ landed_after }}'
),

{% endfor -%}

landed as (
    {%- for event_view in event_views %}
    select * from {{ event_view | replace('stg_', '') }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

-- the others are counted in data_quality
usable as (
    select * from landed
    where
        event_id <> ''
        and workspace_id <> ''
        and message_id <> ''
        and event_type <> ''
        and isfinite(occurred_at)
        and occurred_at <= loaded_at + interval '1 day'
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

taken_up as (
    select
        workspace_id,
        event_id,
        message_id,
        provider,
        provider_message_id,
        coalesce(campaign_id, '') as campaign_id,
        coalesce(mailbox_id, '') as mailbox_id,
        coalesce(domain_id, '') as domain_id,
        recipient_hash,
        coalesce(recipient_domain, '') as recipient_domain,
        event_type,
        smtp_status,
        smtp_code,
        bounce_type,
        diagnostic,
        url,
        user_agent,
        is_machine,
        occurred_at,
        loaded_at,
        {{ batch_id() }}::bigint as valid_from,
        {{ still_standing() }}::bigint as valid_to
    from numbered
    where landing_number = 1
)

select taken_up.*
from taken_up
{%- if adds %}
left join {{ this }} as known
    on
        taken_up.workspace_id = known.workspace_id
        and taken_up.event_id = known.event_id
        and known.valid_to = {{ still_standing() }}
-- never replaced by a later landing, whatever that says
where known.event_id is null
{%- endif %}
