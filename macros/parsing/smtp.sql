{#
    The enhanced status code (RFC 3463) that a text names, as "5.1.1"; null where it names none. No part of a longer number
    or an IP address, and not the version of something.
#}
{% macro enhanced_status_code(expression) -%}
    substring({{ expression }} from '(?:^|[^0-9.])([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.]*[0-9])')
{%- endmacro %}


{# The SMTP reply code that a text begins with, or that stands in it before an enhanced status code. #}
{% macro smtp_reply_code(expression) -%}
    coalesce(
        substring({{ expression }} from '^\s*(?:smtp;\s*)?([245][0-9]{2})(?![0-9.])'),
        substring({{ expression }} from '(?:^|[^0-9.])([245][0-9]{2})[ -][245]\.[0-9]{1,3}\.[0-9]{1,3}')
    )::int
{%- endmacro %}
