{#
    How a bounce is classified, in four steps. Each is cheap for what is left after the one before: of a million bounces, some
    hundred distinct texts remain for the rules.

    1. strip_bounce_text() removes what differs from bounce to bounce and says nothing of the reason: addresses, hosts, links, ids.
    2. bounce_words() writes the rest as plain words.
    3. compiled_bounce_rules() makes one regular expression of all phrases of a rule.
    4. first_bounce_rule() finds the first rule that matches.

    This is the reason of an event. Of a message with several bounces: models/core/fct_messages.sql.
#}


{#
    A server's text without addresses, host names, IP addresses, links and long ids. They are no part of the reason, and their words
    would be read as one: spam.example.com, https://support.example.com/blocked. A host name is recognized by its last label, in
    one case, so that "full.Try later" is not a host name.
#}
{% macro strip_bounce_text(text) -%}
    {%- set label = '[A-Za-z0-9_-]+' -%}
    {%- set top_levels = 'com|net|org|edu|gov|mil|int|info|biz|name|pro|coop|aero|mobi|email|cloud|online|site|shop|store|xyz|app|dev|tech|'
        ~ 'local|localdomain|lan|internal|corp|home|arpa|example|invalid|test' -%}
    regexp_replace(
        left({{ text }}, 2000),
        'host [^[:space:]]+\[[^][:space:]]*\] (?:said|refused to talk to me):'
        || '|SMTP error from remote (?:mail )?server after (?:pipelined )?(MAIL FROM|end of data)?[A-Za-z ]*(?::<[^<>]*>[^:]*)?:'
        || '|relay=[^[:space:]]*'
        || '|<[^<>[:space:]]*>'
        || '|(?:https?://|www\.)[^[:space:]<>"'']+'
        || '|{{ label }}(?:\.{{ label }})*\.(?:{{ top_levels }}|{{ top_levels | upper }}|[a-z]{2}|[A-Z]{2})(?![A-Za-z0-9_-])'
        || '|[0-9]{1,3}(?:\.[0-9]{1,3}){3}'
        || '|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){3,}'
        || '|[A-Za-z0-9_#+/=-]*[0-9]{5,}[A-Za-z0-9_#+/=-]*',
        -- the command that was answered, if it tells the reason: bounce_words()
        ' \1 ',
        'g'
    )
{%- endmacro %}


{#
    The words of a stripped text: lower case, without accents, codes and punctuation, with one blank around each. A sentence ends
    with the word |. Spellings of one word are made one: "doesn't" is "does not", "e-mail" is "email", "RecipNotFound" is "recip not
    found". What the sending server wraps the answer in, and products' names, are removed. If the answer is to the command MAIL FROM,
    the words begin with "mail from": the text is about the sender then, whatever address it speaks of. The end of the data is the
    word "enddata": what a server refuses then is the message, and no recipient.

    lower() depends on the database's locale, except with the collation "C"; translate() does the rest.
#}
{% macro bounce_words(text) -%}
    {#- letter by letter the same number #}
    {%- set accents = 'ÀÁÂÃÄÅàáâãäåĄąÇçĆćČčĎďÈÉÊËèéêëĘęĚěÌÍÎÏìíîïŁłÑñŃńŇňÒÓÔÕÖØòóôõöøŐőŘřŚśŠšŤťÙÚÛÜùúûüŰűŮůÝýÿŹźŻżŽžĞğİıŞş' -%}
    {%- set plain = 'aaaaaaaaaaaaaaccccccddeeeeeeeeeeeeiiiiiiiillnnnnnnoooooooooooooorrssssttuuuuuuuuuuuuyyyzzzzzzggiiss' -%}
    {%- set cyrillic = 'АБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ' -%}
    {%- set split_words = "regexp_replace(" ~ text ~ ", '([a-z])([A-Z])', '\\1 \\2', 'g')" -%}
    {%- set lower_case = "replace(translate(lower(" ~ split_words ~ " collate \"C\"), '" ~ accents ~ cyrillic ~ "', '" ~ plain
        ~ cyrillic | lower ~ "'), 'ß', 'ss')" -%}
    {%- set without_codes = "regexp_replace(" ~ lower_case
        ~ ", '(^|[^0-9a-z.])[245][0-9]{2}(?=[^0-9a-z.]|$)|#?[245]\\.[0-9]{1,3}\\.[0-9]{1,3}', '\\1 ', 'g')" -%}
    {%- set negations = "regexp_replace(" ~ without_codes ~ ", 'n[''’`´]t(?![a-z])', ' not', 'g')" -%}
    {%- set sentences = "regexp_replace(" ~ negations ~ ", '[.;!?]+(?=[[:space:]\"'')]|$)|[。；！？]+|->|\\.{2,}', ' | ', 'g')" -%}
    {%- set words = "regexp_replace(" ~ sentences ~ ", '[^a-z0-9|\\u00a1-\\uffff]+', ' ', 'g')" -%}
    {%- set spellings = [
        (' ca not', ' cannot'), (' can not', ' cannot'), (' wo not', ' will not'), (' e mail', ' email'), (' mail box', ' mailbox'),
        (' in box', ' inbox'), (' black list', ' blacklist'), (' block list', ' blocklist'),
        (' in reply to end of data command', ' enddata'), (' end of data', ' enddata'),
    ] -%}
    {%- set unified = namespace(sql="(' ' || " ~ words ~ " || ' ')") -%}
    {%- for spelling, word in spellings -%}
        {%- set unified.sql = "replace(" ~ unified.sql ~ ", '" ~ spelling ~ "', '" ~ word ~ "')" -%}
    {%- endfor -%}
    regexp_replace(
        regexp_replace({{ unified.sql }}, '^[ |]*(.* in reply to mail from command )', ' mail from \1'),
        -- ids: words of letters and digits
        ' (?!8bit)(?=[a-z]*[0-9])[a-z0-9]{6,}(?= )'
        || '| (?:smtp error from remote (?:mail )?server after [a-z ]*command|in reply to (?:end of )?[a-z]+(?: to| from)? command'
        || '|refused to talk to me|remote host said|giving up on|command output|unknown address error|other mail system problem|bad destination host'
        || '|the following information should help identify the cause of this issue|delivery error dd'
        || '|barracuda|proofpoint|mimecast|messagelabs|symantec|ironport|sophos|fortimail|fortinet|mcafee|postini|cloudmark'
        || '|spamtitan|spamexperts|mailscanner|mailcleaner|spamassassin|amavis|trend micro|spam (?:and virus )?firewall'
        || '|spam (?:filter )?gateway|antispam (?:gateway|cloud))(?= )',
        '',
        'g'
    )
{%- endmacro %}


{#
    The rules of bounce_patterns, as CTEs: all phrases of a rule in one regular expression. PostgreSQL caches 32 compiled
    expressions, so at most 30 rules have phrases; a rule can have any number of them. The phrases' language is described in
    seeds/_seeds.yml.
#}
{% macro compiled_bounce_rules(patterns, terms) -%}
bounce_phrases as (
    select
        patterns.priority,
        patterns.smtp_status,
        patterns.smtp_code,
        patterns.bounce_type,
        patterns.bounce_reason,
        patterns.phrase,
        (
            -- terms stand in braces: every second piece
            select
                string_agg(coalesce(bounce_terms.pattern, pieces.piece), '' order by pieces.position)
            from regexp_split_to_table(patterns.phrase, '[{}]') with ordinality as pieces (piece, position)
            left join {{ terms }} as bounce_terms on pieces.position % 2 = 0 and pieces.piece = bounce_terms.term
        ) as expression
    from {{ patterns }} as patterns
),

bounce_rules as materialized (
    select
        priority,
        smtp_status,
        smtp_code,
        bounce_type,
        bounce_reason,
        string_agg(
            case when expression ~ '[\u2e80-\uffff]' then '' else ' ' end
            || '(?:'
            || replace(
                replace(replace(replace(expression, ' ... ', ' (?:[^ |]+ )*'), ' .. ', ' (?:[^ |]+ ){0,4}'), '/', ' '),
                '~',
                '[^ |]*'
            )
            || ')',
            '|' order by phrase
        ) as text_pattern
    from bounce_phrases
    group by priority, smtp_status, smtp_code, bounce_type, bounce_reason
    -- from version 17 on, PostgreSQL knows the order, and stops at the first rule that matches
    order by priority
)
{%- endmacro %}


{#
    The reason of the first rule, by priority, whose conditions all hold; `undetermined` if none does.

    `bounce` is an alias with smtp_status, smtp_code and bounce_type, texts that are not null, and words.
#}
{% macro first_bounce_rule(bounce, rules) -%}
    coalesce(
        (
            select rule.bounce_reason from {{ rules }} as rule
            where
                {{ matches_condition(bounce ~ '.smtp_status', 'rule.smtp_status') }}
                and {{ matches_condition(bounce ~ '.smtp_code', 'rule.smtp_code') }}
                and {{ matches_condition(bounce ~ '.bounce_type', 'rule.bounce_type') }}
                and coalesce({{ bounce }}.words ~ rule.text_pattern, true)
            order by rule.priority
            limit 1
        ),
        'undetermined'
    )
{%- endmacro %}


{# A condition of a rule: a LIKE pattern, which an exclamation mark negates; null always holds. #}
{% macro matches_condition(value, pattern) -%}
    coalesce(({{ value }} like ltrim({{ pattern }}, '!')) <> ({{ pattern }} like '!%'), true)
{%- endmacro %}


{#
    The enhanced status code of a bounce, '' if it has none. The receiving server's own, which is in the text, comes before that of
    the report, which can be a summary. One that says nothing (5.0.0, 5.5.0) is used if there is no other.
#}
{% macro bounce_status(event) -%}
    {%- set said = enhanced_status_code(event ~ '.diagnostic') -%}
    {%- set reported = enhanced_status_code(event ~ '.smtp_status') -%}
    {%- set vague = "'[245]\\.[05]\\.0'" -%}
    coalesce(
        nullif({{ said }}, substring({{ said }} from {{ vague }})),
        nullif({{ reported }}, substring({{ reported }} from {{ vague }})),
        {{ said }},
        {{ reported }},
        ''
    )
{%- endmacro %}


{#
    The text of a bounce. A report without one can have words beside its code, "5.2.1 (mailbox disabled)" or "552 Mailbox full";
    those of a vague code say nothing.
#}
{% macro bounce_text(event) -%}
    coalesce(
        nullif(btrim({{ event }}.diagnostic), ''),
        substring(left({{ event }}.smtp_status, 1000) from '[(](?!other or undefined).*'),
        substring(left({{ event }}.smtp_status, 1000) from '^[245][0-9. -]*([A-Za-z].*)')
    )
{%- endmacro %}


{#
    The SMTP reply code of a bounce, the receiving server's own first; if it has none, the class of its status code, a digit; else
    ''.
#}
{% macro bounce_reply_code(event) -%}
    coalesce(
        ({{ smtp_reply_code(event ~ '.diagnostic') }})::text,
        ({{ quoted_reply_code(event ~ '.diagnostic') }})::text,
        ({{ event }}.smtp_code)::text,
        left({{ enhanced_status_code(event ~ '.smtp_status') }}, 1),
        left({{ enhanced_status_code(event ~ '.diagnostic') }}, 1),
        ''
    )
{%- endmacro %}


{# All that a bounce is classified by, as one value: equal keys have the same reason. #}
{% macro bounce_key(event) -%}
    row({{ event }}.smtp_status, {{ event }}.smtp_code, {{ event }}.bounce_type, {{ event }}.diagnostic)::text
{%- endmacro %}
