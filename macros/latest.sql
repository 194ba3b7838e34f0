{# What the latest of a message's events (time, then event id) that names a value says: the order of landing decides nothing. #}
{% macro latest_named(column) -%}
    (array_agg({{ column }} order by occurred_at desc, event_id desc) filter (where {{ column }} <> ''))[1]
{%- endmacro %}
