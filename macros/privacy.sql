{#
    A text without e-mail addresses: each stands as <address>, also where its @ is percent-encoded (in URLs).
    The local part is anything but white space, brackets, quotes and separators, so that more is masked rather than less.
#}
{% macro mask_addresses(expression) -%}
    case
        when {{ expression }} ~* '@|%40'
            then
                regexp_replace(
                    {{ expression }},
                    '<?[^][\s<>()"'',;:=&?/\\]+(@|%40)[^][\s<>()"'',;:=&?/\\]+>?',
                    '<address>',
                    'gi'
                )
        else {{ expression }}
    end
{%- endmacro %}


{# The address itself out of "Name <address>", in lower case; null for an empty one. #}
{% macro bare_address(expression) -%}
    nullif(lower(trim(coalesce(substring({{ expression }} from '<([^<>]*)>\s*$'), {{ expression }}))), '')
{%- endmacro %}


{# An address's keyed hash: see migration 0003. #}
{% macro recipient_hash(address) -%}
    app.recipient_hash({{ address }})
{%- endmacro %}


{# The domain of an address; null where it has none. #}
{% macro recipient_domain(address) -%}
    nullif(substring({{ address }} from '@([^@]+)$'), '')
{%- endmacro %}
