with periods as (
    select * from {{ ref('int_deliverability_periods') }}
)

select
    workspace_id,
    {{ request_previous_start() }} as start_date,
    {{ request_previous_end() }} as end_date,
    hard_bounces,
    soft_bounces,
    estimated_inbox_placement_rate,
    spam_rate,
    bounce_rate,
    health_score,
    hard_bounce_rate,
    soft_bounce_rate
from periods
where is_previous
