{#
    How many messages each of two campaigns needs, so that a difference of their shares as large as this one is significant (5 %,
    two-sided) in four of five experiments: the sample size of the pooled two-proportion z-test (J. L. Fleiss, Statistical Methods
    for Rates and Proportions). Null for equal shares.
#}
{% macro needed_sample_size(share, other_share) -%}
    {#- the 97.5th and the 80th percentile of the normal distribution -#}
    {%- set z_of_level = '1.959964' -%}
    {%- set z_of_power = '0.841621' -%}
    {%- set mean = '((' ~ share ~ ' + ' ~ other_share ~ ') / 2)' -%}
    ceil(
        power(
            {{ z_of_level }} * sqrt(2 * {{ mean }} * (1 - {{ mean }}))
            + {{ z_of_power }} * sqrt({{ share }} * (1 - {{ share }}) + {{ other_share }} * (1 - {{ other_share }})),
            2
        )
        / nullif(power({{ share }} - {{ other_share }}, 2), 0)
    )::bigint
{%- endmacro %}
