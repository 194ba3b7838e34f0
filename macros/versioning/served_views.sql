{#
    The views that publications serve: each definition of a mart has a view with a name of its own, so a build that changes a mart
    changes no response before it is published, and none at all if it fails.
#}

{% macro served_schema() -%}
    {{ return(generate_schema_name('marts', none) ~ '_served') }}
{%- endmacro %}


{# At most 63 characters, PostgreSQL's limit. #}
{% macro served_name(mart, definition) -%}
    {{ return(mart[:49] ~ '__' ~ definition[:12]) }}
{%- endmacro %}


{# Creates the schema of a developer's warehouse; production's is created by a migration. #}
{% macro make_served_schema() -%}
    {%- if run_query("select to_regnamespace('" ~ served_schema() ~ "')").rows[0][0] is none -%}
        {%- do run_query(
            'create schema ' ~ served_schema() ~ ';'
            ~ ' grant usage on schema ' ~ served_schema()
            ~ ' to mailmart_api, mailmart_worker, mailmart_analyst, mailmart_workspace_analyst; commit'
        ) -%}
    {%- endif -%}
{%- endmacro %}


{# Creates the view of this mart's definition, unless it exists. A model that is no mart is not served. #}
{% macro serve_view(definition, sql) -%}
    {%- if 'marts' not in model.fqn -%} {{ return('') }} {%- endif -%}
    {%- set name = served_name(this.identifier, definition) -%}
    {%- do keep_served_query(served_schema(), name, sql) -%}
    {%- set existing = kept('served_views') -%}
    {%- if existing is none -%} {%- set existing = read_served_views() -%} {%- endif -%}
    {%- if name not in existing -%}
        {%- set view = served_schema() ~ '."' ~ name ~ '"' -%}
        {%- do run_query(
            "create view " ~ view ~ " with (security_invoker = true) as (" ~ sql ~ "\n);"
            ~ " grant select on " ~ view ~ " to " ~ config.get('grants')['select'] | join(', ') ~ "; commit"
        ) -%}
    {%- endif -%}
{%- endmacro %}


{# The current definition of each mart, by name. #}
{% macro mart_definitions() -%}
    {%- set found = run_query(
        "select view_name, definition from app.view_definitions where view_schema = '" ~ generate_schema_name('marts', none) ~ "'"
    ) -%}
    {%- set definitions = {} -%}
    {%- for row in found.rows -%}
        {%- do definitions.update({row[0]: row[1]}) -%}
    {%- endfor -%}
    {{ return(definitions) }}
{%- endmacro %}


{# The names of the views of the marts' current definitions. #}
{% macro current_served_views() -%}
    {%- set definitions = mart_definitions() -%}
    {%- set views = [] -%}
    {%- for node in graph.nodes.values() if 'marts' in node.fqn and node.alias in definitions -%}
        {%- do views.append(served_name(node.alias, definitions[node.alias])) -%}
    {%- endfor -%}
    {{ return(views) }}
{%- endmacro %}
