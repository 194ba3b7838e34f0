with rejected_events as (
    select
        workspace_id,
        provider,
        problem,
        {{ displayable_time('loaded_at') }} as loaded_at
    from {{ ref('fct_rejected_events') }} as fct_rejected_events
    where
        {{ is_visible_as_of('fct_rejected_events') }}
        and problem not in ({{ left_out_problems() }})
        and {{ is_in_window("(loaded_at at time zone 'UTC')::date") }}
)

select
    workspace_id,
    provider,
    problem,
    count(*) as events,
    max(loaded_at) as last_loaded_at,
    {{ advice_for('problem') }} as advice
from rejected_events
group by workspace_id, provider, problem
order by workspace_id collate "C", provider collate "C", problem collate "C"
