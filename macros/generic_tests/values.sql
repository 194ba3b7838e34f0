{#
    The rules for each row of a model: columns that must have a value, and chains of expressions of which none is greater than the
    next one ([clicked, opened, delivered, sent]). One test reads the rows once, whatever the number of rules, and its error names
    those that are broken.

    not_null: columns that are not null. not_empty: columns that are neither null nor ''. is_rollup: also warns of measures that old
    rows do not have yet, in the same session.
#}
{% test valid_rows(model, not_empty=[], not_null=[], chains=[], is_rollup=false) -%}
    {%- if is_testing() -%}
        {%- if is_rollup -%} {%- do warn_of_missing_measures(tested_node(model)) -%} {%- endif -%}
        {%- set found = run_query('select ' ~ invalid_rows(not_empty, not_null, chains) ~ ' from ' ~ model).rows[0] -%}
        {%- set without_value = [] -%}
        {%- for name in not_empty + not_null -%}
            {%- set rows = found[loop.index0] -%}
            {%- if rows > 0 -%} {%- do without_value.append(name ~ ' (rows: ' ~ rows ~ ')') -%} {%- endif -%}
        {%- endfor -%}
        {%- set greater = [] -%}
        {%- for pair in pairs_of(chains) -%}
            {%- set rows = found[(not_empty + not_null) | length + loop.index0] -%}
            {%- if rows > 0 -%} {%- do greater.append(pair | join(' > ') ~ ' (rows: ' ~ rows ~ ')') -%} {%- endif -%}
        {%- endfor -%}
        {%- set name = tested_node(model).name -%}
        {%- set sentences = [] -%}
        {%- if without_value -%}
            {%- do sentences.append(
                'Without a value in ' ~ name ~ ': ' ~ without_value | join(', ') ~ '. Give each row a value, or leave it out.'
            ) -%}
        {%- endif -%}
        {%- if greater -%}
            {%- do sentences.append('Too large in ' ~ name ~ ': ' ~ greater | join(', ') ~ '.') -%}
        {%- endif -%}
        {%- if sentences -%} {%- do exceptions.raise_compiler_error(sentences | join(' ')) -%} {%- endif -%}
    {%- endif -%}
    select 1 as invalid where false
{%- endtest %}


{# Columns: for each required column the number of rows without a value, and for each pair of a chain that of rows that break it. #}
{% macro invalid_rows(not_empty, not_null, chains) -%}
    {%- set conditions = [] -%}
    {%- for name in not_empty -%} {%- do conditions.append(name ~ ' is null or ' ~ name ~ " = ''") -%} {%- endfor -%}
    {%- for name in not_null -%} {%- do conditions.append(name ~ ' is null') -%} {%- endfor -%}
    {%- for pair in pairs_of(chains) -%} {%- do conditions.append(pair[0] ~ ' > ' ~ pair[1]) -%} {%- endfor -%}
    {%- for condition in conditions -%}
    count(*) filter (where {{ condition }}) as rule_{{ loop.index }}{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{# Each two expressions that follow each other in a chain. #}
{% macro pairs_of(chains) -%}
    {%- set pairs = [] -%}
    {%- for chain in chains -%}
        {%- for expression in chain[1:] -%} {%- do pairs.append([chain[loop.index0], expression]) -%} {%- endfor -%}
    {%- endfor -%}
    {{ return(pairs) }}
{%- endmacro %}
