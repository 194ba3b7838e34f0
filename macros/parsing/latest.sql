{#
    What the latest of a message's events (time, then event id) that names a value says: the order of landing decides nothing.
    All of a query's have the same order, so that Postgres sorts once.
#}
{% macro latest_non_empty(column, condition='true') -%}
    (array_agg({{ column }} order by occurred_at desc, event_id collate "C" desc) filter (where {{ column }} <> '' and {{ condition }}))[1]
{%- endmacro %}
