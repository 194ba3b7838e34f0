{# A rate in per cent, rounded once, at the end, from summed counts; over nothing it is 0. #}
{% macro rate(part, whole) -%}
    coalesce(round(100.0 * {{ part }} / nullif({{ whole }}, 0), 2), 0)::numeric(5, 2)
{%- endmacro %}
