{# A text as a value of another type; null where it is none: a malformed value stops no build. #}
{% macro try_cast(expression, type) -%}
    case when pg_input_is_valid({{ expression }}, '{{ type }}') then ({{ expression }})::{{ type }} end
{%- endmacro %}


{#
    A text as JSON; null where it is none. Nesting beyond the server's stack is an error that no check of validity catches,
    so what could be nested that deep (it has as many opening brackets) is none either.
#}
{% macro try_cast_json(expression) -%}
    case
        when length({{ expression }}) - length(translate({{ expression }}, '[{', '')) > 5000 then null
        when pg_input_is_valid({{ expression }}, 'jsonb') then ({{ expression }})::jsonb
    end
{%- endmacro %}


{# A time in seconds since 1970, as a number or a text; null where it is none. #}
{% macro epoch_to_timestamp(expression) -%}
    case
        when
            {{ expression }} ~ '^[0-9]{1,11}([.][0-9]{1,30})?$'
            then to_timestamp(({{ expression }})::numeric)
    end
{%- endmacro %}


{#
    A time in ISO 8601, UTC where it names no zone; null where it is none. The form is asked for because PostgreSQL takes
    'now' and 'infinity' for times, too, and reads a time without a zone in the session's.
#}
{% macro iso_to_timestamp(expression) -%}
    {%- set form = "'^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,30})?)?" -%}
    case
        when
            {{ expression }} ~ {{ form }} ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$'
            then {{ try_cast(expression, 'timestamptz') }}
        when
            {{ expression }} ~ {{ form }}$'
            then {{ try_cast(expression ~ " || 'Z'", 'timestamptz') }}
    end
{%- endmacro %}


{# The time of a mail's Date header (RFC 5322), which can end with the zone's name in brackets; null where it is none. #}
{% macro mail_date_to_timestamp(expression) -%}
    {%- set date = "substring(" ~ expression ~ " from '^(?:[A-Za-z]{3}, *)?([0-9]{1,2} [A-Za-z]{3} [0-9]{4} [0-9]{2}:[0-9]{2}(?::[0-9]{2})? *(?:[+-][0-9]{4}|GMT|UTC?))')" -%}
    {{ try_cast(date, 'timestamptz') }}
{%- endmacro %}
