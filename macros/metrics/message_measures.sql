{#
    The measures of rollups of messages that have the same counts as fct_campaign_days. That one has a list of its own, to which an
    analyst's count is added; here it is added if it is also needed by provider or step.
#}
{% macro message_measures() -%}
    {{ return({
        'sent': {'count_if': 'true'},
        'delivered': {'count_if': 'is_delivered'},
        'bounced': {'count_if': 'is_bounced'},
        'hard_bounced': {'count_if': 'is_hard_bounced'},
        'opened': {'count_if': 'is_opened'},
        'clicked': {'count_if': 'is_clicked'},
        'replied': {'count_if': 'is_replied'},
        'complained': {'count_if': 'is_complained'},
        'unsubscribed': {'count_if': 'is_unsubscribed'},
        'human_opened': {'count_if': 'is_human_opened'},
        'human_clicked': {'count_if': 'is_human_clicked'},
        'opens_and_clicks': {'sum': 'opens_and_clicks', 'data_type': 'integer'},
        'classified_opens_and_clicks': {'sum': 'classified_opens_and_clicks', 'data_type': 'integer'},
    }) }}
{%- endmacro %}


{# A sequence, step or variant for a rollup: '' if there is none, and without the address of a person, which only a message has. #}
{% macro label_without_address(column) -%}
    case
        when strpos({{ column }}, '@') + strpos({{ column }}, '%40') > 0 then app.mask_addresses({{ column }})
        else coalesce({{ column }}, '')
    end
{%- endmacro %}


{#
    A recipient's domain for a rollup, whose keys have a bound: what other systems write beside a domain, such as a comment, is left
    out. A domain that is one as it is needs no more than the first condition.
#}
{% macro bare_domain(column) -%}
    case
        when octet_length({{ column }}) <= 255 and {{ column }} !~ '[^a-z0-9._-]' then {{ column }}
        else app.bare_domain({{ column }})
    end
{%- endmacro %}
