{#
    The lower bound of the 95 % Wilson score interval of successes / trials (E. B. Wilson, 1927); 0 without trials. A ranking by
    it does not put one lucky message first. Numeric, so that equal counts have equal bounds on every machine.
#}
{% macro wilson_lower_bound(successes, trials) -%}
    {%- set z = '1.959964' -%}
    coalesce(
        (
            {{ successes }} + {{ z }} * {{ z }} / 2
            - {{ z }} * sqrt(
                {{ successes }}::numeric * ({{ trials }} - {{ successes }}) / nullif({{ trials }}, 0) + {{ z }} * {{ z }} / 4
            )
        ) / ({{ trials }} + {{ z }} * {{ z }}),
        0
    )
{%- endmacro %}


{# The upper bound of the same interval; 1 without trials. #}
{% macro wilson_upper_bound(successes, trials) -%}
    (1 - {{ wilson_lower_bound('(' ~ trials ~ ' - ' ~ successes ~ ')', trials) }})
{%- endmacro %}
