with periods as (
    select * from {{ ref('int_workspace_periods') }}
),

this_period as (
    select * from periods
    where not is_previous
),

previous_period as (
    select * from periods
    where is_previous
)

select
    this_period.workspace_id,
    {{
    changes(
        counts=[
            'emails_sent', 'emails_delivered', 'emails_opened', 'emails_clicked', 'emails_replied',
            'human_emails_opened', 'human_emails_clicked',
        ],
        rates=[
            'delivery_rate', 'open_rate', 'click_rate', 'reply_rate', 'human_open_rate', 'human_click_rate',
            'human_coverage',
        ],
    )
    }}
from this_period
inner join previous_period
    on
        this_period.workspace_id = previous_period.workspace_id
