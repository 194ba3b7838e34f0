{#
    The condition that an event is valid: it has a workspace, an id, a message, a type and a time, which is at most a day later
    than it was loaded. A day after the last possible loaded_at would be out of range, an error. Plain conditions, of which the planner can estimate the share of rows.
#}
{% macro is_valid_event() -%}
    event_id <> ''
    and workspace_id <> ''
    and message_id <> ''
    and event_type <> ''
    and isfinite(occurred_at)
    and occurred_at <= least(loaded_at, '9999-01-01 00:00:00+00') + interval '1 day'
{%- endmacro %}


{# The first of these conditions that an event does not meet; null if it is valid. #}
{% macro rejection_reason() -%}
    case
        when coalesce(workspace_id, '') = '' then 'no_workspace'
        when coalesce(event_id, '') = '' then 'no_event_id'
        when coalesce(message_id, '') = '' then 'no_message'
        when coalesce(event_type, '') = '' then 'no_event_type'
        when not coalesce(isfinite(occurred_at), false) then 'no_time'
        when occurred_at > least(loaded_at, '9999-01-01 00:00:00+00') + interval '1 day' then 'future_timestamp'
    end
{%- endmacro %}
