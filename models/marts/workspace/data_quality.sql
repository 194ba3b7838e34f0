with set_aside as (
    select
        workspace_id,
        problem,
        provider,
        loaded_at
    from {{ ref('fct_set_aside_events') }} as fct_set_aside_events
    where {{ is_true_for_request('fct_set_aside_events') }}
)

select
    workspace_id,
    problem,
    provider,
    count(*) as events,
    min(loaded_at) as first_landed_at,
    max(loaded_at) as last_landed_at
from set_aside
group by workspace_id, problem, provider
order by workspace_id, problem, provider
