{# Casts a text to a type; null if that is not valid, so that a malformed value does not fail a build. #}
{% macro try_cast(expression, type) -%}
    case when pg_input_is_valid({{ expression }}, '{{ type }}') then ({{ expression }})::{{ type }} end
{%- endmacro %}


{#
    Parses a JSON text in a body as an erasure does (app.parse_json_text); null if it is not valid, larger than a body may be, or has
    very many opening brackets.
#}
{% macro try_cast_json(expression) -%}
    case
        when octet_length({{ expression }}) > {{ var('max_body_bytes') }} / 8 then null
        when length({{ expression }}) - length(translate({{ expression }}, '[{', '')) > 5000 then null
        else app.parse_json_text({{ expression }})
    end
{%- endmacro %}


{# A JSON value, as the first of several to choose from: null if it is empty, so that it hides none of the others. #}
{% macro non_empty_json(expression) -%}
    case when {{ expression }} not in ('[]', '{}', '""', 'null') then {{ expression }} end
{%- endmacro %}


{# Parses seconds since 1970, a number or a text; null if that is not valid. #}
{% macro epoch_to_timestamp(expression) -%}
    case
        when
            left({{ expression }}, 100) ~ '^[0-9]{1,11}([.][0-9]{1,30})?$'
            then to_timestamp(({{ expression }})::numeric)
    end
{%- endmacro %}


{#
    Parses a time in ISO 8601, in UTC if it names no zone; null if it is not valid. The format is checked first, because PostgreSQL
    also accepts 'now' and 'infinity', and reads a time without a zone in the session's.
#}
{% macro iso_to_timestamp(expression) -%}
    {%- set iso_format = "'^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,30})?)?" -%}
    case
        when
            left({{ expression }}, 100) ~ {{ iso_format }} ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$'
            then {{ try_cast(expression, 'timestamptz') }}
        when
            left({{ expression }}, 100) ~ {{ iso_format }}$'
            then {{ try_cast(expression ~ " || 'Z'", 'timestamptz') }}
    end
{%- endmacro %}


{# Parses a Date header (RFC 5322), which can end with a zone's name in brackets; null if it is not valid. #}
{% macro mail_date_to_timestamp(expression) -%}
    {%- set date = "substring(left(" ~ expression ~ ", 100) from '^(?:[A-Za-z]{3}, *)?([0-9]{1,2} [A-Za-z]{3} [0-9]{4} [0-9]{2}:[0-9]{2}(?::[0-9]{2})? *(?:[+-][0-9]{4}|GMT|UTC?))')" -%}
    {{ try_cast(date, 'timestamptz') }}
{%- endmacro %}
