{#
    An aggregate: the value of the latest event, by time and then event id, in which the column is not empty. When the event was
    loaded does not matter. All of a query's have the same order, so that PostgreSQL sorts once.
#}
{% macro latest_non_empty(column, condition='true') -%}
    (array_agg({{ column }} order by occurred_at desc, event_id collate "C" desc) filter (where {{ column }} <> '' and {{ condition }}))[1]
{%- endmacro %}
