{#
    A nightly build (MAILMART_DBT_KEEP_VIEWS) leaves out the views if none has changed since it was built: the project has the same
    fingerprint as what was published, and the catalog has the same version of each view. They are a third of the nodes of a build.
#}

{# Whether this build leaves out the views. #}
{% macro keeps_views() -%}
    {{ return(env_var('MAILMART_DBT_KEEP_VIEWS', '') != '') }}
{%- endmacro %}


{# Whether such a build leaves out this node. #}
{% macro is_kept_view(node) -%}
    {{ return(node.resource_type == 'model' and node.config.materialized == 'view') }}
{%- endmacro %}


{# A statement that fails if a view may have changed. `fingerprint`: the project's, as an SQL literal. #}
{% macro require_kept_views(fingerprint) -%}
    {%- set views = [] -%}
    {%- for node in graph.nodes.values() if is_kept_view(node) -%}
        {%- do views.append(node.schema ~ '.' ~ node.alias) -%}
    {%- endfor -%}
    select app.require_kept_views(
        {{ sql_literal(warehouse_name()) }},
        {{ fingerprint }},
        {{ sql_array(views) }},
        {{ sql_literal(generate_schema_name('marts', none)) }},
        {{ sql_literal(served_schema()) }}
    );
{% endmacro %}
