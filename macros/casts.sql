{# A text as a value of another type; null where it is none: a malformed value stops no build. #}
{% macro try_cast(expression, type) -%}
    case when pg_input_is_valid({{ expression }}, '{{ type }}') then ({{ expression }})::{{ type }} end
{%- endmacro %}


{# A time in seconds since 1970, as a number or a text; null where it is none. #}
{% macro epoch_to_timestamp(expression) -%}
    case
        when
            {{ expression }} ~ '^[0-9]{1,11}([.][0-9]+)?$'
            then to_timestamp(({{ expression }})::numeric)
    end
{%- endmacro %}
