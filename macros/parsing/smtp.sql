{#
    The enhanced status code (RFC 3463) in a text, such as 5.1.1; null if the text has no code. Not a part of a longer number, an IP
    address or a version.
#}
{% macro enhanced_status_code(expression) -%}
    substring(left({{ expression }}, 4000) from '(?:^|[^0-9.])([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.]*[0-9])')
{%- endmacro %}


{# The SMTP reply code at the start of a text, or in it before an enhanced status code; null if the text has no code. #}
{% macro smtp_reply_code(expression) -%}
    coalesce(
        substring(left({{ expression }}, 4000) from '^\s*(?:smtp;\s*)?([245][0-9]{2})(?![0-9.])'),
        substring(left({{ expression }}, 4000) from '(?:^|[^0-9.])([245][0-9]{2})[ -][245]\.[0-9]{1,3}\.[0-9]{1,3}')
    )::int
{%- endmacro %}


{#
    The reply code that a text quotes: `host mx.example.com said: 550 User unknown`, `host mx [192.0.2.1]: 550`, `SMTP; 550`,
    `server after RCPT TO:<address>: 550`, on the same line or on the next one. Null if it quotes none.
#}
{% macro quoted_reply_code(expression) -%}
    substring(
        left({{ expression }}, 4000)
        from '(?:(?:said|me|host|re(?:plied|ply|sponse|turned|ason)|was|error|<<<|\]|[A-Za-z]+;)[^A-Za-z0-9]{1,4}'
        || '|server after [^:]+(?::<[^<>]*>[^:]*)?:\s+)([45][0-9]{2})[ -]'
    )::int
{%- endmacro %}
