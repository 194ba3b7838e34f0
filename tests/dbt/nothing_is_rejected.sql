{{ config(severity='warn') }}

-- A warning: events that were rejected since the last publication, but not those left out on purpose. The warehouse is right, but
-- their source may have a problem. The mart data_quality counts all of them.
select
    workspace_id,
    problem,
    provider,
    count(*) as events
from {{ ref('fct_rejected_events') }}
where
    {{ is_current() }}
    and problem not in ({{ left_out_problems() }})
    and valid_from > {{ published_batch() if flags.WHICH == 'build' else 0 }}
group by workspace_id, problem, provider
