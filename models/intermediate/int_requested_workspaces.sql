with workspaces as (
    select
        workspace_id,
        timezone
    from {{ ref('dim_workspaces') }} as dim_workspaces
    where {{ is_visible_as_of('dim_workspaces') }}
)

select
    workspace_id,
    coalesce({{ request_timezone() }}, timezone) as timezone
from workspaces
union all
-- a new workspace has a row before any of its data is loaded
select
    requested.workspace_id,
    coalesce({{ request_timezone() }}, 'UTC') as timezone
from (select {{ request_workspace_id() }} as workspace_id) as requested
left join workspaces on requested.workspace_id = workspaces.workspace_id
where requested.workspace_id is not null and workspaces.workspace_id is null
