{#
    Why an event bounced: the reason of the first rule, by priority, that matches; `undetermined` if none does. A rule matches if
    each of its conditions that is not empty holds. A status code that is missing or vague (5.0.0) is replaced by the one in the
    text.

    PostgreSQL caches 32 compiled regular expressions: with more text_patterns, each would be compiled again for each bounce.

    This is the reason of an event. Of a message with several bounces: models/core/fct_messages.sql.

    `event` is an alias with smtp_status, smtp_code and diagnostic, `rules` the seed bounce_patterns.
#}
{% macro classify_bounce(event, rules) -%}
    (
        select coalesce(
            (
                select rule.bounce_reason from {{ rules }} as rule
                where
                    bounce.status like coalesce(rule.smtp_status, '%')
                    and bounce.code like coalesce(rule.smtp_code, '%')
                    and coalesce(bounce.text ~* rule.text_pattern, rule.text_pattern is null)
                order by rule.priority
                limit 1
            ),
            'undetermined'
        )
        from (
            select
                coalesce(
                    nullif({{ enhanced_status_code(event ~ '.smtp_status') }}, substring({{ event }}.smtp_status from '^[245]\.[05]\.0')),
                    {{ enhanced_status_code(event ~ '.diagnostic') }},
                    {{ enhanced_status_code(event ~ '.smtp_status') }},
                    ''
                ) as status,
                coalesce(({{ event }}.smtp_code)::text, ({{ smtp_reply_code(event ~ '.diagnostic') }})::text, '') as code,
                -- the placeholder of a masked address is not the server's text
                replace({{ event }}.diagnostic, '<address>', '<>') as text
        ) as bounce
    )
{%- endmacro %}


{# All that a bounce is classified by, as one value: equal keys have the same reason. #}
{% macro bounce_key(event) -%}
    row({{ event }}.smtp_status, {{ event }}.smtp_code, {{ event }}.diagnostic)::text
{%- endmacro %}
