{#
    dbt's materialization of a view, skipped if its SQL, columns, descriptions and grants are unchanged, and nobody has changed it by
    hand. Replacing a view locks it against its readers, and two such locks with readers of both views can deadlock. A nightly run
    replaces no view.

    A mart has a second view, named after its definition, which publications serve. The mart itself changes with the build, for
    analysts. The view that the API reads changes with the publication, and goes back with it.
#}
{% materialization view, adapter='postgres' -%}
    {%- do add_query_view_columns(model) -%}
    {%- if is_analysts_build() -%}
        {{ return(dbt.materialization_view_default()) }}
    {%- endif -%}
    {#- without the name of the database, which PostgreSQL does not keep: one that is reportable_sql or copied has the same views -#}
    {%- set portable_sql = sql | replace(adapter.quote(this.database) ~ '.', '') -%}
    {%- set definition = local_md5(
        tojson([portable_sql, model.description, model.columns, config.get('grants'), model.config['post-hook']], sort_keys=true)
    ) -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is not none and existing.is_view and definition == stored_definition(this) -%}
        {%- do serve_view(definition, sql) -%}
        {%- call noop_statement('main', 'UNCHANGED VIEW', 'UNCHANGED VIEW') -%}{%- endcall -%}
        {{ return({'relations': [this.incorporate(type='view')]}) }}
    {%- endif -%}
    {%- if existing is not none and existing.is_view -%}
        {#- for a second at a time, so that an analyst's open transaction does not make every other reader wait -#}
        {%- do run_query('select app.lock_view(' ~ sql_literal(existing.include(database=false)) ~ ')') -%}
    {%- endif -%}
    {%- set relations = dbt.materialization_view_default() -%}
    {%- do serve_view(definition, sql) -%}
    {% do run_query(
        "insert into app.view_definitions (view_schema, view_name, definition, state) values ("
        ~ "'" ~ this.schema ~ "', '" ~ this.identifier ~ "', '" ~ definition ~ "',"
        ~ " app.view_state('" ~ this.schema ~ "', '" ~ this.identifier ~ "'))"
        ~ " on conflict (view_schema, view_name) do update set definition = excluded.definition, state = excluded.state; commit"
    ) %}
    {{ return(relations) }}
{%- endmaterialization %}


{# The definition that a view had when this build began; none if it was never built, or changed by hand since. #}
{% macro stored_definition(relation) -%}
    {%- set definitions = kept('view_definitions') -%}
    {%- if definitions is none -%} {%- set definitions = read_view_definitions() -%} {%- endif -%}
    {{ return(definitions.get(relation.schema ~ '.' ~ relation.identifier)) }}
{%- endmacro %}
