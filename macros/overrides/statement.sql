{#
    Overrides two macros of dbt, so that no statement depends on how the server, the database, the login or the profile is set up
    (`alter role … set timezone`, PGTZ, a connection pooler). The settings are a part of each statement: a profile of dbt can make
    no start-up option, and a ROLLBACK takes back what a hook has set.
#}

{#
    What the result of a statement depends on. A day has 24 hours, and a time that is cast to a date or a text is one of UTC. The
    list is that of api/db/session.py.

    statement_timeout: of a data test; not what the login may have.

    lock_timeout: nobody waits behind a statement that only waits to read or to add rows, so it can wait for a while. What would
    block readers waits for a second at a time: app.lock_view().
#}
{% macro session_settings() -%}
    set timezone = 'UTC'; set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres'; set extra_float_digits = 1;{{ ' ' -}}
    set bytea_output = 'hex'; set standard_conforming_strings = on; set row_security = on;{{ ' ' -}}
    set search_path = public, pg_temp; set lock_timeout = '{{ var("lock_timeout") }}';{{ statement_timeout() }}{{ planner_settings() }}
{%- endmacro %}


{#
    A data test, or dbt show, reads a mart of all workspaces at once, which no request does. PostgreSQL expects a few rows of CTEs
    that have a million then, and a nested loop over two of them does not end.
#}
{% macro planner_settings() -%}
    {%- set is_of_a_mart = model is defined and model and model.fqn is defined and model.fqn[1] == 'marts' -%}
    {%- set reads_all_workspaces = is_of_a_mart and (model.resource_type == 'test' or flags.WHICH == 'show') %}{{ ' ' -}}
    set enable_nestloop = {{ 'off' if reads_all_workspaces else 'on' }};
{%- endmacro %}


{# The time limit of a data test. That of a versioned model is set in its transaction by hold_batch(); nothing else has one. #}
{% macro statement_timeout() -%}
    {%- if model is defined and model and model.resource_type == 'test' %} set statement_timeout = {{ sql_literal(var('test_timeout')) }};
    {%- elif not (model is defined and model and model.config.incremental_strategy == 'versioned') %} set statement_timeout = 0;
    {%- endif -%}
{%- endmacro %}


{# dbt's own statement(), without Python models, and with the settings. #}
{% macro statement(name=none, fetch_result=false, auto_begin=true, language='sql') -%}
    {%- if execute -%}
        {%- set compiled_code = caller() -%}
        {%- if name == 'main' -%}
            {{ log('Writing runtime ' ~ language ~ ' for node "' ~ model['unique_id'] ~ '"') }}
            {{ write(compiled_code) }}
        {%- endif -%}
        {%- if language != 'sql' -%}
            {%- do exceptions.raise_compiler_error('mailmart has no models in ' ~ language) -%}
        {%- endif -%}
        {%- set response, table = adapter.execute(
            session_settings() ~ '\n' ~ compiled_code, auto_begin=auto_begin, fetch=fetch_result
        ) -%}
        {%- if name is not none -%}
            {{ store_result(name, response=response, agate_table=table) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{# dbt's own: the SQL of `dbt show`, with the settings. #}
{% macro get_show_sql(compiled_code, sql_header, limit) -%}
    {{ session_settings() }}
    {% if sql_header is not none -%}
        {{ sql_header }}
    {%- endif %}
    {{ get_limit_subquery_sql(compiled_code, limit) }}
{%- endmacro %}


{# Empties a seed's table. TRUNCATE would wait for every reader's transaction, and make later readers wait. #}
{% macro postgres__truncate_relation(relation) -%}
    {%- call statement('truncate_relation') -%}
        delete from {{ relation }}
    {%- endcall -%}
{%- endmacro %}
