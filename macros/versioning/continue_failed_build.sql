{#
    When a retry publishes: the nodes that passed in it, and in the failed builds directly before it, have to be the whole project.
    These macros describe the build and the project for app.end_batch(), which decides.
#}

{#
    A hash of what a build is made from: the project's nodes, macros and variables. A build may continue another one only if both
    have the same. Computed from what dbt has parsed, so that plain dbt has it as well.
#}
{% macro project_fingerprint() -%}
    {%- set parts = [dbt_version, adapter.config.vars.to_dict(), invocation_args_dict.get('vars')] -%}
    {%- for id, node in graph.nodes | dictsort -%}
        {%- do parts.append([
            id, node.checksum, node.raw_code, node.config, node.columns, node.description,
            node.depends_on.get('nodes', []), node.get('test_metadata'), node.schema, node.alias
        ]) -%}
    {%- endfor -%}
    {%- for id, source in graph.sources | dictsort -%}
        {%- do parts.append([id, source.relation_name]) -%}
    {%- endfor -%}
    {%- for id, exposure in graph.exposures | dictsort -%}
        {%- do parts.append([id, exposure.config, exposure.description, exposure.label, exposure.depends_on.nodes]) -%}
    {%- endfor -%}
    {%- for id, metric in graph.metrics | dictsort -%}
        {%- do parts.append([id, metric.label, metric.description, metric.type, metric.type_params, metric.filter, metric.config]) -%}
    {%- endfor -%}
    {%- for id, semantic_model in graph.semantic_models | dictsort -%}
        {%- do parts.append([id, semantic_model.description, semantic_model.config, semantic_model.dimensions, semantic_model.measures]) -%}
    {%- endfor -%}
    {%- for name, macro in context[project_name] | dictsort -%}
        {%- do parts.append([name, macro.macro.macro_sql]) -%}
    {%- endfor -%}
    {{ return(local_md5(tojson(parts, sort_keys=true))) }}
{%- endmacro %}


{# The nodes of this build with dbt's status and message, by id. Exposures do not run. #}
{% macro node_results(results) -%}
    {%- set nodes = {} -%}
    {%- for result in results if result.node.resource_type | string != 'exposure' -%}
        {%- do nodes.update({result.node.unique_id: {
            'name': result.node.name,
            'status': result.status | string,
            'message': result.message,
        }}) -%}
    {%- endfor -%}
    {{ return(nodes) }}
{%- endmacro %}


{# The nodes that this kind of build runs - whole, without views, or continuous - by id, each with the ids of its parents. #}
{% macro project_nodes() -%}
    {%- set nodes = {} -%}
    {%- for node in graph.nodes.values() if node.resource_type in ['model', 'seed', 'snapshot', 'test'] and not is_ephemeral(node) -%}
        {%- set is_left_out = is_kept_view(node) and keeps_views() -%}
        {%- if not is_left_out and (not is_continuous_build() or is_built_continuously(node)) -%}
            {%- do nodes.update({node.unique_id: built_parents(node)}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(nodes) }}
{%- endmacro %}


{# Whether a continuous build runs this node: a model that holds rows, or a data test of one. See SELECTION in api/builds/continuous.py. #}
{% macro is_built_continuously(node) -%}
    {%- if node.resource_type == 'test' -%}
        {%- for id in node.depends_on.get('nodes', []) -%}
            {%- if id in graph.nodes and is_built_continuously(graph.nodes[id]) -%}
                {{ return(true) }}
            {%- endif -%}
        {%- endfor -%}
        {{ return(false) }}
    {%- endif -%}
    {{ return(node.config.materialized in ['incremental', 'table', 'materialized_view', 'snapshot']) }}
{%- endmacro %}


{# An ephemeral model is not run: it is a part of the SQL of the models that read it. #}
{% macro is_ephemeral(node) -%}
    {{ return(node.resource_type == 'model' and node.config.materialized == 'ephemeral') }}
{%- endmacro %}


{# The ids of a node's parents; in place of an ephemeral one, its own parents. #}
{% macro built_parents(node) -%}
    {%- set parents = [] -%}
    {%- for id in node.depends_on.get('nodes', []) -%}
        {%- set parent = graph.nodes.get(id) -%}
        {%- if parent and is_ephemeral(parent) -%}
            {%- do parents.extend(built_parents(parent)) -%}
        {%- else -%}
            {%- do parents.append(id) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(parents) }}
{%- endmacro %}
