{# The counts that the rows of a list have, as fct_campaign_days names them. #}
{% macro listed_counts() -%}
    {{ return([
        'sent', 'delivered', 'bounced', 'hard_bounced', 'opened', 'clicked', 'replied', 'complained', 'unsubscribed',
    ]) }}
{%- endmacro %}


{# Columns of a list: its counts under their public names, and the rates of them. The counts are columns of the query. #}
{% macro listed_count_columns() -%}
    sent as emails_sent,
    delivered as emails_delivered,
    bounced as emails_bounced,
    hard_bounced as hard_bounces,
    opened as emails_opened,
    clicked as emails_clicked,
    replied as emails_replied,
    complained as spam_complaints,
    unsubscribed as unsubscribes,
    {{ rate('delivery_rate') }} as delivery_rate,
    {{ rate('open_rate') }} as open_rate,
    {{ rate('click_rate') }} as click_rate,
    {{ rate('click_to_open_rate') }} as click_to_open_rate,
    {{ rate('reply_rate') }} as reply_rate,
    {{ rate('bounce_rate') }} as bounce_rate,
    {{ rate('spam_rate') }} as spam_rate,
    {{ rate('unsubscribe_rate') }} as unsubscribe_rate
{%- endmacro %}
