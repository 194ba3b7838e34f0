with periods as (
    select * from {{ ref('int_workspace_periods') }}
),

this_period as (
    select * from periods
    where not is_previous
),

previous_period as (
    select * from periods
    where is_previous
)

select
    this_period.workspace_id,
    {{
    changes(
        counts=public_names(workspace_counts() + human_counts()),
        rates=workspace_rates() + human_rates() + ['human_coverage'],
    )
    }}
from this_period
inner join previous_period
    on
        this_period.workspace_id = previous_period.workspace_id
