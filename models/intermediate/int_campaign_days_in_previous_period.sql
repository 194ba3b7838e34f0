-- one select: PostgreSQL joins through it, as it does not through a query with a WITH of its own
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
    and sent_date between {{ request_previous_start() }} and {{ request_previous_end() }}
