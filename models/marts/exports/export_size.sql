with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

campaigns as (
    select
        workspace_id,
        campaign_id
    from {{ ref('dim_campaigns') }} as dim_campaigns
    where {{ is_visible_as_of('dim_campaigns') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

campaign_totals as (
    select
        workspace_id,
        count(*) as campaigns
    from campaigns
    where {{ is_requested_campaign('campaign_id') }}
    group by workspace_id
),

message_totals as (
    select
        workspace_id,
        sum(sent) as messages
    from campaign_days
    where {{ is_requested_campaign('campaign_id') }}
    group by workspace_id
)

select
    workspace_id,
    coalesce(campaign_totals.campaigns, 0)::bigint as campaigns,
    coalesce(message_totals.messages, 0)::bigint as messages
from workspaces
left join campaign_totals using (workspace_id)
left join message_totals using (workspace_id)
