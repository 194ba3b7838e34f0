{# Columns: each count summed, 0 without rows. `counts` are columns of the alias. #}
{% macro summed_counts(alias, counts) -%}
    {%- for count in counts %}
    coalesce(sum({{ alias }}.{{ count }}), 0)::bigint as {{ count }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
