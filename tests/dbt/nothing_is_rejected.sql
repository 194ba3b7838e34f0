{{ config(severity='warn') }}

-- What landed since the last publication and was not taken up as it came: nothing is wrong in the warehouse, and something may
-- be where the events come from. The view data_quality has all of it.
select
    workspace_id,
    problem,
    provider,
    count(*) as events
from {{ ref('fct_rejected_events') }}
where {{ is_current() }} and valid_from > {{ published_batch() if flags.WHICH == 'build' else 0 }}
group by workspace_id, problem, provider
