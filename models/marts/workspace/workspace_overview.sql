with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

campaigns as (
    select
        workspace_id,
        campaign_status
    from {{ ref('dim_campaigns') }} as dim_campaigns
    where {{ is_visible_as_of('dim_campaigns') }}
),

workspace_days as (
    select * from {{ ref('int_workspace_days_in_window') }}
),

totals as (
    select
        workspaces.workspace_id,
        campaign_totals.total_campaigns,
        campaign_totals.active_campaigns,
        message_totals.*
    from workspaces
    cross join
        lateral (
            select
                count(*) as total_campaigns,
                count(*) filter (where campaigns.campaign_status = 'sending') as active_campaigns
            from campaigns
            where campaigns.workspace_id = workspaces.workspace_id
        ) as campaign_totals
    cross join
        lateral (
            select
                {{ summed_counts('workspace_days', workspace_counts() + human_counts() + coverage_counts()) }}
            from workspace_days
            where workspace_days.workspace_id = workspaces.workspace_id
        ) as message_totals
)

select
    workspace_id,
    total_campaigns,
    active_campaigns,
    {{ public_counts(workspace_counts()) }},
    {{ public_rates(workspace_rates()) }},
    {{ public_counts(human_counts()) }},
    {{ public_rates(human_rates() + ['human_coverage']) }}
from totals
