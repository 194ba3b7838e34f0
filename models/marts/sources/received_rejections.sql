with rejected_events as (
    select
        workspace_id,
        provider,
        problem,
        {{ unknown_word() }} as word,
        {{ displayable_time('loaded_at') }} as loaded_at
    from {{ ref('fct_rejected_events') }} as fct_rejected_events
    where
        {{ is_visible_as_of('fct_rejected_events') }}
        and problem not in ({{ left_out_problems() }})
        and {{ is_in_window("(loaded_at at time zone 'UTC')::date") }}
),

ranked_words as (
    {{ ranked_unknown_words('rejected_events') | indent }}
),

rejections as (
    select
        workspace_id,
        provider,
        problem,
        sum(events)::bigint as events,
        max(last_loaded_at) as last_loaded_at,
        string_agg(word, ', ' order by place) filter (where place <= {{ max_unknown_words() }}) as unknown_words
    from ranked_words
    group by workspace_id, provider, problem
)

select
    workspace_id,
    provider,
    problem,
    events,
    last_loaded_at,
    unknown_words,
    {{ advice_with_words('problem', 'unknown_words') }} as advice
from rejections
order by workspace_id collate "C", provider collate "C", problem collate "C"
