{{ config(unique_key=['workspace_id'], meta={'full_snapshot': true}) }}

with workspaces as (
    select * from {{ ref('stg_workspaces') }}
    where workspace_id <> ''
),

campaign_days as (
    select * from {{ ref('fct_campaign_days') }}
    where {{ is_current() }} and not {{ is_blank('workspace_id') }}
),

workspaces_with_mail as (
    select distinct workspace_id from campaign_days
)

select
    workspace_id,
    workspaces.tenant_id,
    -- a workspace without a name, or that is not in the app, is named by its id
    coalesce(nullif(workspaces.workspace_name, ''), workspace_id) as workspace_name,
    coalesce(workspaces.timezone, 'UTC') as timezone,
    workspaces.workspace_status,
    workspaces.workspace_id is not null as is_in_app,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from workspaces
full join workspaces_with_mail using (workspace_id)
