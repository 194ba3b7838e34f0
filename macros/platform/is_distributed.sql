{# Whether the tables of core are distributed. #}
{% macro is_distributed() -%}
    {%- if not execute -%} {{ return(false) }} {%- endif -%}
    {#- by invocation: see kept() -#}
    {%- set known = graph.get('mailmart_is_distributed') or {} -%}
    {%- if invocation_id not in known -%}
        {%- set found = run_query("select to_regclass('app.workspace_shards') is not null").rows[0][0] -%}
        {%- set known = {invocation_id: found} -%}
        {%- do graph.update({'mailmart_is_distributed': known}) -%}
    {%- endif -%}
    {{ return(known[invocation_id]) }}
{%- endmacro %}
