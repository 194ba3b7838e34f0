with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

workspace_days as (
    select * from {{ ref('int_workspace_days_in_window') }}
),

previous_workspace_days as (
    select * from {{ ref('int_workspace_days_in_previous_period') }}
),

-- lateral: the sums of one workspace need no sort
totals as (
    {%- for days, is_previous in [('workspace_days', 'false'), ('previous_workspace_days', 'true')] %}
    select
        workspaces.workspace_id,
        {{ is_previous }} as is_previous,
        workspace_totals.*
    from workspaces
    cross join
        lateral (
            select
                {{ summed_counts(days, workspace_counts() + human_counts() + coverage_counts()) }}
            from {{ days }}
            where {{ days }}.workspace_id = workspaces.workspace_id
        ) as workspace_totals
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
)

select
    workspace_id,
    is_previous,
    {{ public_counts(workspace_counts()) }},
    {{ public_rates(workspace_rates()) }},
    {{ public_counts(human_counts()) }},
    {{ public_rates(human_rates() + ['human_coverage']) }}
from totals
