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


{#
    A bound of the same interval in per cent, for answers with thousands of rows: in double precision, whose four operations and square
    root are exact to the last bit on every machine, in a fifth of the time. It is rounded like the other, twelve digits before they
    could differ. `sign` is - for the lower bound and + for the upper. There are trials, and no more successes than trials.
#}
{% macro wilson_bound_percent(successes, trials, sign) -%}
    {%- set z, z_squared = '1.959964::float8', '3.841458881296::float8' -%}
    round(
        (
            100 * (
                ({{ successes }})::float8 + {{ z_squared }} / 2
                {{ sign }} {{ z }} * sqrt(
                    ({{ successes }})::float8 * (({{ trials }})::float8 - ({{ successes }})::float8) / ({{ trials }})::float8
                    + {{ z_squared }} / 4
                )
            ) / (({{ trials }})::float8 + {{ z_squared }})
        )::numeric,
        2
    )
{%- endmacro %}
