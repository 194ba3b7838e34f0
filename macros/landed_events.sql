{#
    The CTE `landed`: every landing of an event after `landed_after`, of the native log and of the providers' webhooks, under
    one set of columns. Another provider is another name here.
#}
{% macro landed_events(landed_after) -%}
{%- set event_views = [
    'stg_native_events',
    'stg_sendgrid_events',
    'stg_ses_events',
    'stg_postmark_events',
    'stg_mailgun_events',
] -%}
{%- for event_view in event_views -%}
{{ event_view | replace('stg_', '') }} as not materialized (
    select * from {{ ref(event_view) }}
    where loaded_at > '{{ landed_after }}'
),

{% endfor -%}

landed as not materialized (
    {%- for event_view in event_views %}
    select * from {{ event_view | replace('stg_', '') }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)
{%- endmacro %}


{#
    Why a landing cannot be used, or null: it has no workspace, id, message, type or time, or is more than a day later than
    its landing.
#}
{% macro unusable_because() -%}
    case
        when coalesce(workspace_id, '') = '' then 'no_workspace'
        when coalesce(event_id, '') = '' then 'no_event_id'
        when coalesce(message_id, '') = '' then 'no_message'
        when coalesce(event_type, '') = '' then 'no_event_type'
        when occurred_at is null or not isfinite(occurred_at) then 'no_time'
        when occurred_at > loaded_at + interval '1 day' then 'from_the_future'
    end
{%- endmacro %}
