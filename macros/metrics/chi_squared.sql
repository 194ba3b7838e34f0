{#
    The probability that a chi-squared variable with 1 to 9 degrees of freedom is at least `value`: the finite sums of the
    incomplete gamma function for whole and half numbers (M. Abramowitz and I. A. Stegun, 26.4.4 and 26.4.5). PostgreSQL has
    erfc, but before version 18 no gamma function. A value above 1,400 counts as 1,400: exp() would raise an underflow.
#}
{% macro chi_squared_upper_tail(value, degrees_of_freedom) -%}
    {#- gamma(power + 1) of each power -#}
    {%- set gammas = {
        0: '1', 1: '1', 2: '2', 3: '6',
        0.5: '0.886226925452758', 1.5: '1.329340388179137', 2.5: '3.323350970447843', 3.5: '11.631728396567448',
    } -%}
    {%- set half = '(least(' ~ value ~ ', 1400) / 2)' -%}
    case when {{ degrees_of_freedom }} % 2 = 1 then erfc(sqrt({{ half }})) else 0 end
    + exp(-{{ half }}) * (
        {%- for exponent, gamma in gammas.items() %}
        {{ '+ ' if not loop.first }}case
            when {{ degrees_of_freedom }} % 2 = {{ 0 if exponent is integer else 1 }} and {{ degrees_of_freedom }} >= {{ (2 * exponent + 2) | int }}
                then power({{ half }}, {{ exponent }}) / {{ gamma }}
            else 0
        end
        {%- endfor %}
    )
{%- endmacro %}
