{#
    The CTE `landed`: every landing of an event after `loaded_after`, of the native log and of the providers' webhooks, under
    one set of columns. Another provider is another name here.
#}
{% macro landed_events(loaded_after) -%}
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
    where loaded_at > '{{ loaded_after }}'
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
    Whether a landing can be used: it has a workspace, an id, a message, a type and a time, which is at most a day later than
    its landing. In plain conditions, whose share of the rows the planner can tell.
#}
{% macro is_valid_event() -%}
    event_id <> ''
    and workspace_id <> ''
    and message_id <> ''
    and event_type <> ''
    and isfinite(occurred_at)
    and occurred_at <= loaded_at + interval '1 day'
{%- endmacro %}


{# Which of these a landing fails, the first of them; null where it can be used. #}
{% macro rejection_reason() -%}
    case
        when coalesce(workspace_id, '') = '' then 'no_workspace'
        when coalesce(event_id, '') = '' then 'no_event_id'
        when coalesce(message_id, '') = '' then 'no_message'
        when coalesce(event_type, '') = '' then 'no_event_type'
        when not coalesce(isfinite(occurred_at), false) then 'no_time'
        when occurred_at > loaded_at + interval '1 day' then 'future_timestamp'
    end
{%- endmacro %}
