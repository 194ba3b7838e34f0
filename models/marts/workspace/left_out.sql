with rejected_events as (
    select
        workspace_id,
        problem,
        provider,
        {{ displayable_time('loaded_at') }} as loaded_at
    from {{ ref('fct_rejected_events') }} as fct_rejected_events
    where {{ is_visible_as_of('fct_rejected_events') }} and problem in ({{ left_out_problems() }})
)

select
    workspace_id,
    problem as reason,
    provider,
    count(*) as events,
    min(loaded_at) as first_loaded_at,
    max(loaded_at) as last_loaded_at
from rejected_events
group by workspace_id, problem, provider
order by workspace_id collate "C", problem collate "C", provider collate "C"
