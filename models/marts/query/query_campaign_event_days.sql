{%- set counts = [
    'delivered', 'bounced', 'hard_bounced', 'opened', 'clicked', 'replied', 'complained', 'unsubscribed',
    'human_opened', 'human_clicked',
] %}

{#- the counts by the day of sending, moved to the days of the events. No CTE: it would be computed before it is filtered -#}
{%- set event_days -%}
(
    select
        workspace_id,
        campaign_id,
        mailbox_id,
        domain_id,
        sent_date as event_date,
        sent,
        {{ counts | join(',\n        ') }},
        valid_from,
        valid_to
    from {{ ref('fct_campaign_days') }}
    union all
    select
        workspace_id,
        campaign_id,
        mailbox_id,
        domain_id,
        event_date,
        0 as sent,
        {{ counts | join(',\n        ') }},
        valid_from,
        valid_to
    from {{ ref('fct_event_day_shifts') }}
)
{%- endset -%}

{{ query_view('campaign_event_days', [event_days], joins={'mailboxes': ref('dim_mailboxes')}) }}
