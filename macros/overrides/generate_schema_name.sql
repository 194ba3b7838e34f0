{#
    The production target's schemas are named as the design names them: staging, core, marts. Every other target
    has schemas of its own, behind its prefix, so that no developer's build touches what is served.
#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set layer = custom_schema_name or 'core' -%}
    {%- if target.name == 'production' -%} {{ layer }} {%- else -%} {{ target.schema }}_{{ layer }} {%- endif -%}
{%- endmacro %}


{# How batches tell one warehouse from another: 'production', or the developer's prefix. #}
{% macro warehouse_name() -%}
    {{ return('production' if target.name == 'production' else target.schema) }}
{%- endmacro %}
