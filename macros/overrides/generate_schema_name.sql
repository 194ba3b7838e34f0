{#
    The schemas of the target production are staging, core and marts. Every other target has its own, with its prefix, so that a
    developer's build does not touch production.
#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set layer = custom_schema_name or 'core' -%}
    {%- if target.name == 'production' -%} {{ layer }} {%- else -%} {{ target.schema }}_{{ layer }} {%- endif -%}
{%- endmacro %}


{# The name of this warehouse in app.batches: 'production', or the developer's prefix. #}
{% macro warehouse_name() -%}
    {{ return('production' if target.name == 'production' else target.schema) }}
{%- endmacro %}
