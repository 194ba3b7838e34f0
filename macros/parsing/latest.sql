{#
    An aggregate: the value of the latest event, by time and then event id, in which the column is not empty. When the event was
    loaded does not matter. All of a query's have the same order, so that PostgreSQL sorts once. `is_present`: the condition that the
    column is not empty; of an expression, which would be evaluated twice.
#}
{% macro latest_non_empty(column, condition='true', is_present=none) -%}
    {%- set is_present = is_present or column ~ " <> ''" -%}
    (array_agg({{ column }} order by occurred_at desc, event_id collate "C" desc) filter (where {{ is_present }} and {{ condition }}))[1]
{%- endmacro %}
