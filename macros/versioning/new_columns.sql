{#
    Adds the columns that the versioned models have come to have, before any of them is built. dbt would do it at the beginning
    of the model's own transaction, and keep readers out until all its rows are written.

    A table that is being read is asked for again and again: waiting in one go, for a long export for example, would make all
    readers wait who come after it.
#}
{% macro add_new_columns() -%}
    {%- set there = run_query(
        "select format('%I.%I', table_schema, table_name), column_name from information_schema.columns"
        ~ " where table_schema = '" ~ generate_schema_name('core', none) ~ "'"
    ).rows | map('join', '.') | list -%}
    {%- for node in graph.nodes.values() if node.config.incremental_strategy == 'versioned' -%}
        {%- set table = node.schema ~ '.' ~ node.alias -%}
        {%- set missing = [] -%}
        {%- for column in node.columns.values() if table ~ '.' ~ column.name not in there -%}
            {%- do missing.append('add column if not exists ' ~ adapter.quote(column.name) ~ ' ' ~ column.data_type) -%}
        {%- endfor -%}
        {#- one without any column is not there yet -#}
        {%- if missing and missing | length < node.columns | length -%}
            {%- do run_query(adding_columns(table, missing)) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}


{% macro adding_columns(table, columns) -%}
    do $add$
    begin
        set local lock_timeout = '1s';
        for attempt in 1..100 loop
            begin
                alter table {{ table }} {{ columns | join(', ') }};
                return;
            exception
                when lock_not_available then perform pg_sleep(1);
            end;
        end loop;
        raise exception '{{ table }} is being read without a pause, and cannot be given its new columns'
            using hint = 'Find the long-running transaction in pg_stat_activity, and build again.';
    end
    $add$;
    commit
{%- endmacro %}
