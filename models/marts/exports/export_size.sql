with {{ requested_workspaces() }},

campaigns as (
    select
        workspace_id,
        count(*) as campaigns
    from {{ ref('dim_campaigns') }} as dim_campaigns
    where {{ is_visible_as_of('dim_campaigns') }} and {{ is_of_requested_campaigns('campaign_id') }}
    group by workspace_id
),

{{ requested_campaign_days(['sent']) }},

messages as (
    select
        workspace_id,
        sum(sent) as messages
    from campaign_days
    where {{ is_of_requested_campaigns('campaign_id') }}
    group by workspace_id
)

select
    workspace_id,
    coalesce(campaigns.campaigns, 0)::bigint as campaigns,
    coalesce(messages.messages, 0)::bigint as messages
from workspaces
left join campaigns using (workspace_id)
left join messages using (workspace_id)
