with health_scores as (
    select * from {{ ref('int_local_health_scores_daily') }}
)

select
    workspace_id,
    date,
    score
from health_scores
order by workspace_id, date
