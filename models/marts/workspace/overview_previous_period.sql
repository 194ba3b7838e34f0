with periods as (
    select * from {{ ref('int_workspace_periods') }}
)

select
    workspace_id,
    {{ request_previous_start() }} as start_date,
    {{ request_previous_end() }} as end_date,
    emails_sent,
    emails_delivered,
    emails_opened,
    emails_clicked,
    emails_replied,
    human_emails_opened,
    human_emails_clicked,
    delivery_rate,
    open_rate,
    click_rate,
    reply_rate,
    human_open_rate,
    human_click_rate,
    human_coverage
from periods
where is_previous
