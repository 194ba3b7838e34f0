{#
    The public names of counts, which fct_campaign_days names as here on the left. The doc block of the public name
    (models/docs/counts.md) describes the count.
#}
{% macro public_names(counts) -%}
    {%- set names = {
        'sent': 'emails_sent',
        'delivered': 'emails_delivered',
        'bounced': 'emails_bounced',
        'hard_bounced': 'hard_bounces',
        'opened': 'emails_opened',
        'clicked': 'emails_clicked',
        'replied': 'emails_replied',
        'complained': 'spam_complaints',
        'unsubscribed': 'unsubscribes',
        'human_opened': 'human_emails_opened',
        'human_clicked': 'human_emails_clicked',
    } -%}
    {%- set result = [] -%}
    {%- for count in counts -%}
        {%- if count not in names -%} {{ exceptions.raise_compiler_error('public_names() has no ' ~ count) }} {%- endif -%}
        {%- do result.append(names[count]) -%}
    {%- endfor -%}
    {{ return(result) }}
{%- endmacro %}


{# Columns: counts under their public names. The counts are columns of the query. #}
{% macro public_counts(counts) -%}
    {%- set names = public_names(counts) -%}
    {%- for count in counts %}
    {{ count }} as {{ names[loop.index0] }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{# Columns: rates of the list under their names. The counts of the rates are columns of the query. #}
{% macro public_rates(names) -%}
    {%- for name in names %}
    {{ rate(name) }} as {{ name }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{# The counts in a response about a campaign. #}
{% macro campaign_counts() -%}
    {{ return([
        'sent', 'delivered', 'bounced', 'opened', 'clicked', 'replied', 'complained', 'unsubscribed',
    ]) }}
{%- endmacro %}


{# The rates of these counts. #}
{% macro campaign_rates() -%}
    {{ return([
        'delivery_rate', 'open_rate', 'click_rate', 'click_to_open_rate', 'reply_rate', 'bounce_rate', 'spam_rate', 'unsubscribe_rate',
    ]) }}
{%- endmacro %}


{# The counts in the overview of a workspace. #}
{% macro workspace_counts() -%}
    {{ return(['sent', 'delivered', 'opened', 'clicked', 'replied']) }}
{%- endmacro %}


{# The rates of these counts. #}
{% macro workspace_rates() -%}
    {{ return(['delivery_rate', 'open_rate', 'click_rate', 'reply_rate']) }}
{%- endmacro %}


{# The counts of messages that a person opened or clicked. #}
{% macro human_counts() -%}
    {{ return(['human_opened', 'human_clicked']) }}
{%- endmacro %}


{# The rates of these counts. #}
{% macro human_rates() -%}
    {{ return(['human_open_rate', 'human_click_rate']) }}
{%- endmacro %}


{# The counts that human_coverage is made of. #}
{% macro coverage_counts() -%}
    {{ return(['opens_and_clicks', 'classified_opens_and_clicks']) }}
{%- endmacro %}


{# The counts that the rows of a list have. #}
{% macro listed_counts() -%}
    {{ return([
        'sent', 'delivered', 'bounced', 'hard_bounced', 'opened', 'clicked', 'replied', 'complained', 'unsubscribed',
    ]) }}
{%- endmacro %}
