{# Columns: each count summed, 0 without rows. `counts` are columns of the alias. #}
{% macro summed_counts(alias, counts) -%}
    {%- for count in counts %}
    coalesce(sum({{ alias }}.{{ count }}), 0)::bigint as {{ count }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{# Columns: each count of the alias, 0 if it is null because the row has no partner in a left join. #}
{% macro counts_or_zero(alias, counts) -%}
    {%- for count in counts %}
    coalesce({{ alias }}.{{ count }}, 0) as {{ count }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
