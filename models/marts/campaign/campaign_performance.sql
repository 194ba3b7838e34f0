with campaigns as (
    select * from {{ ref('int_requested_campaigns') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

-- lateral: the sums of one campaign need no sort
totals as (
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        campaigns.campaign_name,
        campaign_totals.*
    from campaigns
    cross join
        lateral (
            select
                {{ summed_counts('campaign_days', campaign_counts() + human_counts() + coverage_counts()) }}
            from campaign_days
            where
                campaign_days.workspace_id = campaigns.workspace_id
                and campaign_days.campaign_id = campaigns.campaign_id
        ) as campaign_totals
)

select
    workspace_id,
    campaign_id,
    campaign_name,
    {{ public_counts(campaign_counts()) }},
    {{ public_rates(campaign_rates()) }},
    {{ public_counts(human_counts()) }},
    {{ public_rates(human_rates() + ['human_coverage']) }}
from totals
