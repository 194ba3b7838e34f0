with {{ requested_workspaces() }}

select
    workspace_id,
    coalesce({{ request_timezone() }}, timezone) as timezone
from workspaces
