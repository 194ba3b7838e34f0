with {{ requested_mailboxes() }},

{{ daily_health_scores(first_day=request_range_start()) }}

select
    workspace_id,
    date,
    score
from health_scores
order by workspace_id, date
