with campaigns as (
    select * from {{ ref('int_listed_campaigns') }}
),

mailboxes as (
    select * from {{ ref('int_requested_mailboxes') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

-- lateral: a page reads the days of its own campaigns, and of no other one
totals as (
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        campaigns.campaign_name,
        campaigns.campaign_status,
        campaign_totals.*
    from campaigns
    cross join
        lateral (
            select
                max(campaign_days.sent_date) as last_sent_on,
                {{ summed_counts('campaign_days', listed_counts()) }}
            from campaign_days
            where
                campaign_days.workspace_id = campaigns.workspace_id
                and campaign_days.campaign_id = campaigns.campaign_id
                and {{ is_requested_domain('campaign_days') }}
        ) as campaign_totals
)

select
    workspace_id,
    campaign_id,
    campaign_name,
    campaign_status,
    last_sent_on,
    {{ public_counts(listed_counts()) }},
    {{ public_rates(campaign_rates()) }}
from totals
-- with a domain, the campaigns that sent from it
where {{ request_domain_id() }} is null or sent > 0
