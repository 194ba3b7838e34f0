{#
    Why an event bounced: the reason of the first rule of the seed bounce_patterns (by priority) of which every condition that
    it has holds; `undetermined` where none does. `event` is an alias with smtp_status, smtp_code and diagnostic, `rules` a CTE of
    the seed. The text's own status code stands in for one that is missing or says only "something".

    PostgreSQL keeps 32 compiled regular expressions: with more text_patterns than that, each would be compiled for each bounce.
#}
{% macro classify_bounce(event, rules) -%}
    (
        select coalesce(
            (
                select rule.bounce_reason from {{ rules }} as rule
                where
                    said.status like coalesce(rule.smtp_status, '%')
                    and said.code like coalesce(rule.smtp_code, '%')
                    and coalesce(said.text ~* rule.text_pattern, rule.text_pattern is null)
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
                -- the word that stands for a masked address is none of the server's
                replace({{ event }}.diagnostic, '<address>', '<>') as text
        ) as said
    )
{%- endmacro %}


{# What a bounce is classified by, as one value: two with the same have the same reason. #}
{% macro bounce_key(event) -%}
    row({{ event }}.smtp_status, {{ event }}.smtp_code, {{ event }}.diagnostic)::text
{%- endmacro %}
