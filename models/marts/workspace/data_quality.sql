with rejected_events as (
    select
        workspace_id,
        problem,
        provider,
        {{ unknown_word() }} as word,
        {{ displayable_time('loaded_at') }} as loaded_at
    from {{ ref('fct_rejected_events') }} as fct_rejected_events
    where {{ is_visible_as_of('fct_rejected_events') }} and problem not in ({{ left_out_problems() }})
),

message_problems as (
    select
        workspace_id,
        provider,
        engagement_without_delivery,
        message_id_with_several_recipients
    from {{ ref('fct_message_problems') }} as fct_message_problems
    where {{ is_visible_as_of('fct_message_problems') }}
),

app_problems as (
    select
        workspace_id,
        app_table,
        problem,
        app_rows
    from {{ ref('dim_app_problems') }} as dim_app_problems
    where {{ is_visible_as_of('dim_app_problems') }}
),

ranked_words as (
    {{ ranked_unknown_words('rejected_events') | indent }}
),

problems as (
    select
        workspace_id,
        problem,
        provider,
        sum(events)::bigint as events,
        min(first_loaded_at) as first_loaded_at,
        max(last_loaded_at) as last_loaded_at,
        string_agg(word, ', ' order by place) filter (where place <= {{ max_unknown_words() }}) as unknown_words
    from ranked_words
    group by workspace_id, problem, provider
    union all
    -- messages: later events can end such a problem, so no time of loading is its own
    select
        workspace_id,
        'engagement_without_delivery' as problem,
        provider,
        engagement_without_delivery as events,
        null as first_loaded_at,
        null as last_loaded_at,
        null as unknown_words
    from message_problems
    where engagement_without_delivery > 0
    union all
    select
        workspace_id,
        'message_id_with_several_recipients' as problem,
        provider,
        message_id_with_several_recipients as events,
        null as first_loaded_at,
        null as last_loaded_at,
        null as unknown_words
    from message_problems
    where message_id_with_several_recipients > 0
    union all
    -- the app's tables do not say when a row was loaded
    select
        workspace_id,
        problem,
        'app.' || app_table as provider,
        sum(app_rows)::bigint as events,
        null as first_loaded_at,
        null as last_loaded_at,
        null as unknown_words
    from app_problems
    group by workspace_id, problem, app_table
)

select
    workspace_id,
    problem,
    provider,
    events,
    first_loaded_at,
    last_loaded_at,
    unknown_words,
    {{ advice_with_words('problem', 'unknown_words') }} as advice
from problems
order by workspace_id collate "C", problem collate "C", provider collate "C"
