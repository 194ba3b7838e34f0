{#
    The semantic layer as a publication has it, under the keys of manifest.json: metrics with their SQL, and semantic models. A view that
    was never built answers nothing, so its semantic model is left out.
#}
{% macro published_semantic_layer(nodes) -%}
    {%- set layer = {'metrics': {}, 'semantic_models': {}} -%}
    {%- set metrics = query_metrics() -%}
    {%- for metric in graph.metrics.values() if metric.name in metrics -%}
        {%- do layer.metrics.update({metric.unique_id: metrics[metric.name]}) -%}
    {%- endfor -%}
    {%- for semantic_model in graph.semantic_models.values() if semantic_model.depends_on.nodes[0] in nodes -%}
        {%- do layer.semantic_models.update({semantic_model.unique_id: {
            'name': semantic_model.name,
            'description': semantic_model.description,
            'config': {'meta': semantic_model.config.meta},
            'depends_on': {'nodes': semantic_model.depends_on.nodes},
            'dimensions': described_elements(semantic_model.dimensions),
            'measures': described_elements(semantic_model.measures),
        }}) -%}
    {%- endfor -%}
    {{ return(layer) }}
{%- endmacro %}


{# Dimensions or measures, without what only dbt needs. #}
{% macro described_elements(elements) -%}
    {%- set described = [] -%}
    {%- for element in elements -%}
        {%- do described.append({
            'name': element.name,
            'type': element.type or none,
            'label': element.label,
            'description': element.description,
            'expr': element.expr,
            'config': {'meta': {'data_type': element.config.meta.data_type or none} if element.config else {}},
        }) -%}
    {%- endfor -%}
    {{ return(described) }}
{%- endmacro %}
