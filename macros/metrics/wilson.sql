{#
    The lower bound of the 95 % Wilson score interval of part / whole (E. B. Wilson, 1927), 0 over nothing: what a rate is at
    least, so that one lucky message does not win. Numeric, so that equal counts are equal bounds on every machine.
#}
{% macro wilson_lower_bound(part, whole) -%}
    {%- set z = '1.959964' -%}
    coalesce(
        (
            {{ part }} + {{ z }} * {{ z }} / 2
            - {{ z }} * sqrt({{ part }}::numeric * ({{ whole }} - {{ part }}) / nullif({{ whole }}, 0) + {{ z }} * {{ z }} / 4)
        ) / ({{ whole }} + {{ z }} * {{ z }}),
        0
    )
{%- endmacro %}
