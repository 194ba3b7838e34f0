with event_days as (
    select
        workspace_id,
        provider,
        event_type,
        event_date,
        events,
        last_occurred_at,
        {{ displayable_time('last_loaded_at') }} as last_loaded_at
    from {{ ref('fct_event_days') }} as fct_event_days
    where {{ is_visible_as_of('fct_event_days') }}
)

select
    workspace_id,
    provider,
    event_type,
    coalesce(sum(events) filter (where {{ is_in_window('event_date') }}), 0)::bigint as events,
    max(last_occurred_at) as last_occurred_at,
    max(last_loaded_at) as last_loaded_at
from event_days
group by workspace_id, provider, event_type
order by workspace_id collate "C", provider collate "C", event_type collate "C"
