with periods as (
    select * from {{ ref('int_deliverability_periods') }}
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
        counts=['hard_bounces', 'soft_bounces'],
        rates=[
            'estimated_inbox_placement_rate', 'spam_rate', 'bounce_rate', 'health_score', 'hard_bounce_rate',
            'soft_bounce_rate',
        ],
    )
    }}
from this_period
inner join previous_period
    on
        this_period.workspace_id = previous_period.workspace_id
