{#
    The status of a rate against its limits, the columns <rate>_warning_at and <rate>_critical_at in per cent: ok, warning (at or above
    the first) or critical (at or above the second). too_few: one message alone would reach the first limit, and at most one counts. Null
    without limits.
#}
{% macro limit_status(name) -%}
    {%- set definition = rates()[name] -%}
    case
        when {{ name }}_warning_at is null then null
        when {{ definition.denominator }} * {{ name }}_warning_at < 100 and {{ definition.numerator }} < 2 then 'too_few'
        when 100 * {{ definition.numerator }} >= {{ name }}_critical_at * {{ definition.denominator }} then 'critical'
        when 100 * {{ definition.numerator }} >= {{ name }}_warning_at * {{ definition.denominator }} then 'warning'
        else 'ok'
    end
{%- endmacro %}


{# The worst of several statuses. too_few is the result only if all statuses are too_few or null. #}
{% macro worst_status(columns) -%}
    case
        {%- for status in ['critical', 'warning', 'ok', 'too_few'] %}
        when '{{ status }}' in ({{ columns | join(', ') }}) then '{{ status }}'
        {%- endfor %}
    end
{%- endmacro %}
