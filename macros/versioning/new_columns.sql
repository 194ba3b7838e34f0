{#
    Adds new columns of the versioned models before any of them is built. dbt would add them at the beginning of the model's own
    transaction, and block readers until all of its rows are written.
#}
{% macro add_new_columns() -%}
    {%- for node in graph.nodes.values() if node.config.incremental_strategy == 'versioned' -%}
        {%- set columns = {} -%}
        {%- for column in node.columns.values() -%}
            {%- do columns.update({column.name: column.data_type}) -%}
        {%- endfor -%}
        {%- do run_query(
            'select app.add_missing_columns(' ~ sql_literal(node.relation_name) ~ ', ' ~ sql_literal(tojson(columns)) ~ '); commit'
        ) -%}
    {%- endfor -%}
{%- endmacro %}
