{#
    The views that publications serve: each definition of a mart under a name of its own, so that a build that changes a mart
    changes no answer before it is published, and none at all if it fails.
#}

{% macro served_schema() -%}
    {{ return(generate_schema_name('marts', none) ~ '_served') }}
{%- endmacro %}


{# At most 63 characters, as PostgreSQL has them. #}
{% macro served_name(mart, definition) -%}
    {{ return(mart[:49] ~ '__' ~ definition[:12]) }}
{%- endmacro %}


{# Makes the schema of a developer's own warehouse; production's comes with the migrations. #}
{% macro make_served_schema() -%}
    {%- if run_query("select to_regnamespace('" ~ served_schema() ~ "')").rows[0][0] is none -%}
        {%- do run_query(
            'create schema ' ~ served_schema() ~ ';'
            ~ ' grant usage on schema ' ~ served_schema() ~ ' to mailmart_api, mailmart_worker, mailmart_analyst; commit'
        ) -%}
    {%- endif -%}
{%- endmacro %}


{# Makes the view of a definition of this mart, unless it is there; another model's is not served. #}
{% macro serve_view(definition, sql) -%}
    {%- if 'marts' not in model.fqn -%} {{ return('') }} {%- endif -%}
    {%- set view = served_schema() ~ '."' ~ served_name(this.identifier, definition) ~ '"' -%}
    {%- if run_query("select to_regclass('" ~ view ~ "')").rows[0][0] is none -%}
        {%- do run_query(
            "create view " ~ view ~ " with (security_invoker = true) as (" ~ sql ~ "\n);"
            ~ " grant select on " ~ view ~ " to " ~ config.get('grants')['select'] | join(', ') ~ "; commit"
        ) -%}
    {%- endif -%}
{%- endmacro %}


{# The definitions of the marts as they stand, by name. #}
{% macro standing_definitions() -%}
    {%- set found = run_query(
        "select view_name, definition from app.view_definitions where view_schema = '" ~ generate_schema_name('marts', none) ~ "'"
    ) -%}
    {%- set definitions = {} -%}
    {%- for row in found.rows -%}
        {%- do definitions.update({row[0]: row[1]}) -%}
    {%- endfor -%}
    {{ return(definitions) }}
{%- endmacro %}


{# Drops the views that no publication names that one can go back to; one that is being read is left to the next build. #}
{% macro drop_unserved_views() -%}
    {%- set definitions = standing_definitions() -%}
    {%- set standing = [] -%}
    {%- for node in graph.nodes.values() if 'marts' in node.fqn and node.alias in definitions -%}
        {%- do standing.append("'" ~ served_name(node.alias, definitions[node.alias]) ~ "'") -%}
    {%- endfor -%}
    do $drop$
    declare
        unserved text;
    begin
        set local lock_timeout = '1s';
        for unserved in
            select views.viewname
            from pg_views as views
            left join (
                select nodes.node ->> 'alias' as alias
                from app.publications as publications
                cross join json_each(publications.contract -> 'nodes') as nodes (node_id, node)
                where publications.target = '{{ warehouse_name() }}'
            ) as published on views.viewname = published.alias
            where
                views.schemaname = '{{ served_schema() }}'
                and published.alias is null
                and views.viewname not in ({{ standing | join(', ') or 'null' }})
        loop
            begin
                execute format('drop view %I.%I', '{{ served_schema() }}', unserved);
            exception
                when lock_not_available then null;
            end;
        end loop;
    end
    $drop$;
{%- endmacro %}
