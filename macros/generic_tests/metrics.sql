{#
    Data tests of metrics. They report a sentence that names column, table and remedy, where dbt reports a number of rows. So
    they read their rows when they are compiled. They read every current row: a new rate or measure is about old rows, too.
#}

{#
    Each rate of rates() is between 0 and 100 in every row, and so in every sum of rows. One above 999.99 would overflow its type,
    and fail every request for the mart that shows it.
#}
{% test rates_are_shares(model) -%}
    {%- if is_testing() -%}
        {%- set node = tested_node(model) -%}
        {%- set shares = [] -%}
        {%- for name, definition in rates().items() if not definition.can_exceed_100 -%}
            {%- if not definition.only_in or node.name in definition.only_in -%}
                {%- do shares.append(name) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- set found = run_query(
            'select ' ~ rows_above_100(shares) ~ ' from ' ~ node.relation_name ~ ' where ' ~ is_current()
        ) -%}
        {%- for name in shares if found.columns[name].values()[0] > 0 -%}
            {%- do exceptions.raise_compiler_error(
                name ~ ' exceeds 100 %: rows of ' ~ node.name ~ ' with ' ~ rates()[name].numerator ~ ' > '
                ~ rates()[name].denominator ~ ': ' ~ found.columns[name].values()[0]
                ~ ". Choose a denominator that includes the numerator, or set 'can_exceed_100': true in rates()."
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    select 1 as rate where false
{%- endtest %}


{# Columns: for each rate, the number of rows in which it is below 0 or above 100. #}
{% macro rows_above_100(names) -%}
    {%- for name in names -%}
    {%- set definition = rates()[name] -%}
    count(*) filter (where {{ definition.numerator }} not between 0 and {{ definition.denominator }}) as {{ name }}
    {{- ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{# Warns of measures of a rollup that were added later and are null in old rows: marts would show them as 0. #}
{% macro warn_of_missing_measures(node) -%}
    {%- set missing = missing_measures(node) -%}
    {%- if missing -%}
        {%- do exceptions.warn(
            'Marts show 0 for days that nobody counted: ' ~ missing | join(', ') ~ ' of ' ~ node.name
            ~ ' has no value in old rows. ' ~ how_to_backfill()
        ) -%}
    {%- endif -%}
{%- endmacro %}


{#
    The columns of a rollup that are null in any current row. Only columns that were added to the table: those that it was made
    with are before valid_to, which is the last, and have a value in every row.
#}
{% macro missing_measures(node) -%}
    {%- set added = run_query(
        "select attname from pg_attribute where attrelid = '" ~ node.relation_name ~ "'::regclass and not attisdropped and attnum > ("
        ~ "select attnum from pg_attribute where attrelid = '" ~ node.relation_name ~ "'::regclass and attname = 'valid_to')"
    ).columns[0].values() -%}
    {%- set missing = [] -%}
    {%- for column in added -%}
        {%- set found = run_query(
            'select exists (select 1 from ' ~ node.relation_name ~ ' where ' ~ is_current() ~ ' and '
            ~ adapter.quote(column) ~ ' is null)'
        ) -%}
        {%- if found.rows[0][0] -%} {%- do missing.append(column) -%} {%- endif -%}
    {%- endfor -%}
    {{ return(missing) }}
{%- endmacro %}


{# Whether this command runs data tests, not only compiles them. #}
{% macro is_testing() -%}
    {{ return(execute and flags.WHICH in ['build', 'test', 'retry']) }}
{%- endmacro %}
