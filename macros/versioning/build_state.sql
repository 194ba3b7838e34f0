{#
    What is the same for all nodes of a build: it is read once, not once a node. A third of a build's queries were such ones. It is kept
    in `graph`, the one object that all nodes of a command share, and begin_batch() keeps it. A command that is no build reads anew.
#}

{# on-run-start, after app.begin_batch(): from now on no other build of this warehouse changes what is kept. #}
{% macro keep_build_state() -%}
    {%- set state = {
        'invocation_id': invocation_id,
        'batch_id': batch_id(),
        'published_batch': published_batch(),
        'watermarks': read_watermarks(),
        'comments': read_comments(view_schemas()),
        'has_compressed_events': read_has_compressed_events(),
    } -%}
    {#- of builds that make views -#}
    {%- if not is_continuous_build() and not keeps_views() -%}
        {%- do state.update({'view_definitions': read_view_definitions(), 'served_views': read_served_views()}) -%}
    {%- endif -%}
    {%- do graph.update({'mailmart_build': state}) -%}
{%- endmacro %}


{# The batch of each model's last run. A model runs once in a build, so that it does not change before the model reads it. #}
{% macro read_watermarks() -%}
    {%- set watermarks = {} -%}
    {%- for row in run_query(
        "select model, max(batch_id) from app.model_runs where target = '" ~ warehouse_name() ~ "' group by model"
    ).rows -%}
        {%- do watermarks.update({row[0]: row[1]}) -%}
    {%- endfor -%}
    {{ return(watermarks) }}
{%- endmacro %}


{# The definition of each view that was built and not changed by hand since, by schema.name. #}
{% macro read_view_definitions() -%}
    {%- set definitions = {} -%}
    {%- for row in run_query(
        'select view_schema, view_name, definition from app.view_definitions'
        ~ ' where state = app.view_state(view_schema, view_name) and view_schema = any(' ~ sql_array(view_schemas()) ~ ')'
    ).rows -%}
        {%- do definitions.update({row[0] ~ '.' ~ row[1]: row[2]}) -%}
    {%- endfor -%}
    {{ return(definitions) }}
{%- endmacro %}


{# The names of the views in the schema of served views. #}
{% macro read_served_views() -%}
    {{ return(run_query(
        'select relname from pg_class where relnamespace = to_regnamespace(' ~ sql_literal(served_schema()) ~ ") and relkind = 'v'"
    ).columns[0].values() | list) }}
{%- endmacro %}


{#
    A value that keep_build_state() has kept; none outside of a build. By invocation id, because a process that runs several commands has
    one graph for them.
#}
{% macro kept(name) -%}
    {%- set state = graph.get('mailmart_build') -%}
    {{ return(state.get(name) if state and state.invocation_id == invocation_id else none) }}
{%- endmacro %}


{# The schemas in which this project has views. #}
{% macro view_schemas() -%}
    {%- set schemas = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.schema not in schemas -%}
        {%- do schemas.append(node.schema) -%}
    {%- endfor -%}
    {{ return(schemas) }}
{%- endmacro %}
