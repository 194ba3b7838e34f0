{{ config(unique_key=['workspace_id'], meta={'gives_every_key': true}) }}

with workspaces as (
    select * from {{ ref('stg_workspaces') }}
)

select
    workspace_id,
    tenant_id,
    coalesce(nullif(workspace_name, ''), workspace_id) as workspace_name,
    timezone,
    workspace_status,
    {{ batch_id() }}::bigint as valid_from,
    {{ still_standing() }}::bigint as valid_to
from workspaces
where workspace_id <> ''
