{#
    Every rate: the number of messages in the numerator in per cent of those in the denominator. Both are expressions of the
    counts of fct_campaign_days. The doc block of the same name (models/docs/rates.md) describes the rate.

    The numerator is a part of the denominator, so that a rate is between 0 and 100. The data test rates_are_shares checks it.

    `better`: a rate that can be compared between campaigns, and whether a `higher` or a `lower` one wins. Each of these is a
    column of the model comparison.
    `null_over_nothing`: true for a share that has no meaning without messages.
    `only_in`: the rollups that have its counts, if fct_campaign_days does not.
    `can_exceed_100`: true for a ratio whose numerator is no part of its denominator. Its type is numeric(18, 2).
#}
{% macro rates() -%}
    {{ return({
        'delivery_rate': {'numerator': 'delivered', 'denominator': 'sent', 'better': 'higher'},
        'open_rate': {'numerator': 'opened', 'denominator': 'delivered', 'better': 'higher'},
        'cell_open_rate': {'numerator': 'opened', 'denominator': 'sent'},
        'click_rate': {'numerator': 'clicked', 'denominator': 'delivered', 'better': 'higher'},
        'click_to_open_rate': {'numerator': 'clicked', 'denominator': 'opened', 'better': 'higher'},
        'reply_rate': {'numerator': 'replied', 'denominator': 'delivered', 'better': 'higher'},
        'bounce_rate': {'numerator': 'bounced', 'denominator': 'sent', 'better': 'lower'},
        'spam_rate': {'numerator': 'complained', 'denominator': 'sent', 'better': 'lower'},
        'unsubscribe_rate': {'numerator': 'unsubscribed', 'denominator': 'delivered', 'better': 'lower'},
        'human_open_rate': {'numerator': 'human_opened', 'denominator': 'delivered'},
        'human_click_rate': {'numerator': 'human_clicked', 'denominator': 'delivered'},
        'human_coverage': {
            'numerator': 'classified_opens_and_clicks', 'denominator': 'opens_and_clicks', 'null_over_nothing': true
        },
        'hard_bounce_rate': {'numerator': 'hard_bounced', 'denominator': 'sent'},
        'deferral_rate': {'numerator': 'deferred', 'denominator': 'sent', 'only_in': ['fct_provider_days']},
        'soft_bounce_rate': {'numerator': '(bounced - hard_bounced)', 'denominator': 'sent'},
        'estimated_inbox_placement_rate': {'numerator': '(sent - bounced - complained)', 'denominator': 'sent'},
    }) }}
{%- endmacro %}


{# A rate of the list as an expression of the counts, which are columns of the query. Rounded once, here; 0 over nothing, or null. #}
{% macro rate(name) -%}
    {%- if name not in rates() -%} {{ exceptions.raise_compiler_error('rates() has no ' ~ name) }} {%- endif -%}
    {%- set definition = rates()[name] -%}
    {%- set data_type = 'numeric(18, 2)' if definition.can_exceed_100 else 'numeric(5, 2)' -%}
    {%- set share = 'round(100.0 * ' ~ definition.numerator ~ ' / nullif(' ~ definition.denominator ~ ', 0), 2)' -%}
    {{ share if definition.null_over_nothing else 'coalesce(' ~ share ~ ', 0)' }}::{{ data_type }}
{%- endmacro %}


{#
    A rate of a group less that of all other groups together, in percentage points; null without others. all_<count> are columns of the
    sums over all groups. One division, so that it is rounded once.
#}
{% macro rate_difference_from_others(name) -%}
    {%- set definition = rates()[name] -%}
    {%- set part, whole = definition.numerator, definition.denominator -%}
    round(
        100.0 * ({{ part }}::numeric * (all_{{ whole }} - {{ whole }}) - (all_{{ part }} - {{ part }})::numeric * {{ whole }})
        / nullif({{ whole }}::numeric * (all_{{ whole }} - {{ whole }}), 0),
        2
    )::numeric(5, 2)
{%- endmacro %}


{# The names of the rates that can be compared. Significance is about shares. #}
{% macro compared_rates() -%}
    {%- set names = [] -%}
    {%- for name, definition in rates().items() if 'better' in definition -%}
        {%- if definition.can_exceed_100 -%}
            {{ exceptions.raise_compiler_error('rates(): ' ~ name ~ ' can exceed 100, so it cannot be compared: remove `better`') }}
        {%- endif -%}
        {%- do names.append(name) -%}
    {%- endfor -%}
    {{ return(names) }}
{%- endmacro %}


{# Columns: each rate that can be compared. #}
{% macro compared_rate_columns() -%}
    {%- for name in compared_rates() %}
    {{ rate(name) }} as {{ name }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{# Rows for VALUES: name, numerator, denominator, and 1 if a higher rate is better, -1 if a lower one is. #}
{% macro compared_rate_values() -%}
    {%- for name in compared_rates() %}
    {%- set definition = rates()[name] %}
    (
        '{{ name }}', {{ definition.numerator }}, {{ definition.denominator }}, {{ 1 if definition.better == 'higher' else -1 }}
    ){{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
