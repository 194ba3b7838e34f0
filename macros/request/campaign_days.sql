{# Select: the visible rows of fct_campaign_days for which a condition holds, without the columns of versions. #}
{% macro campaign_days_where(condition) -%}
select
    workspace_id,
    campaign_id,
    mailbox_id,
    domain_id,
    sent_date,
    sent,
    delivered,
    bounced,
    hard_bounced,
    opened,
    clicked,
    replied,
    complained,
    unsubscribed,
    human_opened,
    human_clicked,
    opens_and_clicks,
    classified_opens_and_clicks
from {{ ref('fct_campaign_days') }} as fct_campaign_days
where
    {{ is_visible_as_of('fct_campaign_days') }}
    and {{ condition }}
{%- endmacro %}


{# Select: the visible rows of fct_workspace_days for which a condition holds, without the columns of versions. #}
{% macro workspace_days_where(condition) -%}
select
    workspace_id,
    sent_date,
    {{ message_measures() | join(',\n    ') }}
from {{ ref('fct_workspace_days') }} as fct_workspace_days
where
    {{ is_visible_as_of('fct_workspace_days') }}
    and {{ condition }}
{%- endmacro %}
