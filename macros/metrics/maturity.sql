{# The share of the final messages of a kind that were there at an age, in per cent; null if there are none. #}
{% macro maturity_of(delay) -%}
    round(
        (
            100 * max(until_age.messages_until) filter (where until_age.delay = '{{ delay }}')
            / max(until_age.messages) filter (where until_age.delay = '{{ delay }}')::float8
        )::numeric,
        1
    )::numeric(4, 1)
{%- endmacro %}
