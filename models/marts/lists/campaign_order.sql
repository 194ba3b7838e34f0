with campaigns as (
    select * from {{ ref('int_listed_campaigns') }}
),

mailboxes as (
    select * from {{ ref('int_requested_mailboxes') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

-- all campaigns at once: to sort by a number, each campaign's must be known
totals as (
    select
        workspace_id,
        campaign_id,
        max(sent_date) as last_sent_on,
        {{ summed_counts('campaign_days', listed_counts()) }}
    from campaign_days
    where {{ is_requested_domain('campaign_days') }}
    -- by hashing, for which the constant is (rollup.sql)
    group by workspace_id, campaign_id, '0'::xid
),

listed as (
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        campaigns.campaign_name,
        totals.last_sent_on,
        {{ counts_or_zero('totals', listed_counts()) }}
    from campaigns
    -- full: it is hashed or merged. PostgreSQL takes both sides for a few rows, and would compare each with each in a left join
    full join totals
        on
            campaigns.workspace_id = totals.workspace_id
            and campaigns.campaign_id = totals.campaign_id
    -- not `is not null`, which would make it a left join
    where coalesce(campaigns.campaign_id, '') <> ''
)

select
    workspace_id,
    campaign_id,
    campaign_name,
    last_sent_on,
    {{ public_counts(listed_counts()) }},
    {{ public_rates(campaign_rates()) }}
from listed
where {{ request_domain_id() }} is null or sent > 0
