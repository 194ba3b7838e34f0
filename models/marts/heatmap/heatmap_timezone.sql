select
    workspace_id,
    timezone
from {{ ref('int_requested_workspaces') }}
