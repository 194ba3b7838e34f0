{#
    Each row has a value in these columns: not null, and in those of `not_empty` not '' either. One test reads the rows once,
    whatever the number of columns, and its error names the columns.
#}
{% test required_columns(model, not_empty=[], not_null=[]) -%}
    {%- if is_testing() -%}
        {%- set found = run_query('select ' ~ rows_without_value(not_empty, not_null) ~ ' from ' ~ model) -%}
        {%- set problems = [] -%}
        {%- for name in found.column_names if found.columns[name].values()[0] > 0 -%}
            {%- do problems.append(name ~ ' (rows: ' ~ found.columns[name].values()[0] ~ ')') -%}
        {%- endfor -%}
        {%- if problems -%}
            {%- do exceptions.raise_compiler_error(
                'Without a value in ' ~ tested_node(model).name ~ ': ' ~ problems | join(', ') ~ '. Give each row a value, or leave it out.'
            ) -%}
        {%- endif -%}
    {%- endif -%}
    select 1 as required where false
{%- endtest %}


{# Columns: for each required column, the number of rows without a value. #}
{% macro rows_without_value(not_empty, not_null) -%}
    {%- for name in not_empty + not_null -%}
    count(*) filter (where {{ name }} is null{{ " or " ~ name ~ " = ''" if name in not_empty }}) as {{ name }}{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{# In each chain, no expression is greater than the next one: [clicked, opened, delivered, sent]. #}
{% test counts_nest(model, chains) %}
    select *
    from {{ model }}
    where
        {%- for chain in chains %}
        {%- set outer_loop = loop %}
        {%- for expression in chain[1:] %}
        {{ 'or ' if not (outer_loop.first and loop.first) }}{{ chain[loop.index0] }} > {{ expression }}
        {%- endfor %}
        {%- endfor %}
{% endtest %}
