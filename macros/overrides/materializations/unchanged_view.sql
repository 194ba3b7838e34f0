{#
    dbt's view, made only when its SQL, columns, descriptions or grants have changed: replacing one takes a lock that waits for
    its readers and makes others wait, two of which, with readers of both, can be a deadlock. A nightly run touches none.

    Of a mart there is a view more, named for its definition: the one that a publication serves. The mart itself changes with the
    build, for analysts; what is served changes with the publication, and goes back with it.
#}
{% materialization view, adapter='postgres' -%}
    {%- set definition = local_md5(tojson([sql, model.description, model.columns, config.get('grants'), model.config['post-hook']], sort_keys=true)) -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is not none and existing.is_view and definition == stored_definition(this) -%}
        {%- do serve_view(definition, sql) -%}
        {%- call noop_statement('main', 'UNCHANGED VIEW', 'UNCHANGED VIEW') -%}{%- endcall -%}
        {{ return({'relations': [this.incorporate(type='view')]}) }}
    {%- endif -%}
    {%- set made = dbt.materialization_view_default() -%}
    {%- do serve_view(definition, sql) -%}
    {% do run_query(
        "insert into app.view_definitions (view_schema, view_name, definition) values ("
        ~ "'" ~ this.schema ~ "', '" ~ this.identifier ~ "', '" ~ definition ~ "')"
        ~ " on conflict (view_schema, view_name) do update set definition = excluded.definition; commit"
    ) %}
    {{ return(made) }}
{%- endmaterialization %}


{% macro stored_definition(relation) -%}
    {%- set found = run_query(
        "select definition from app.view_definitions where view_schema = '" ~ relation.schema
        ~ "' and view_name = '" ~ relation.identifier ~ "'"
    ) -%}
    {{ return(found.rows[0][0] if found.rows else none) }}
{%- endmacro %}
