{#
    An aggregate: the value of the latest event, by time and then event id, in which the column is not empty. When the event was
    loaded does not matter. All of a query's have the same order, so that PostgreSQL sorts once. `is_present`: the condition that the
    column is not empty, if it is no text.

    PostgreSQL documents any_value() as an arbitrary value. Its transition function keeps the first one in 16 to 18
    (any_value_transfn), and the tests of random mail fail if another release keeps another one. An array of all values, of which the
    first is taken, is made and taken apart for each column of each message.
#}
{% macro latest_non_empty(column, condition='true', is_present=none) -%}
    {%- set is_present = is_present or column ~ " <> ''" -%}
    any_value({{ column }} order by occurred_at desc, event_id collate "C" desc) filter (where {{ is_present }} and {{ condition }})
{%- endmacro %}
