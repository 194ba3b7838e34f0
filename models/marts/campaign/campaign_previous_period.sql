with periods as (
    select * from {{ ref('int_campaign_periods') }}
)

select
    workspace_id,
    campaign_id,
    {{ request_previous_start() }} as start_date,
    {{ request_previous_end() }} as end_date,
    emails_sent,
    emails_delivered,
    emails_bounced,
    emails_opened,
    emails_clicked,
    emails_replied,
    spam_complaints,
    unsubscribes,
    human_emails_opened,
    human_emails_clicked,
    delivery_rate,
    open_rate,
    click_rate,
    click_to_open_rate,
    reply_rate,
    bounce_rate,
    spam_rate,
    unsubscribe_rate,
    human_open_rate,
    human_click_rate,
    human_coverage
from periods
where is_previous
