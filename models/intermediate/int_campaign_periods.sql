with campaigns as (
    select * from {{ ref('int_requested_campaigns') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

previous_campaign_days as (
    select * from {{ ref('int_campaign_days_in_previous_period') }}
),

-- lateral: the sums of one campaign need no sort
totals as (
    {%- for days, is_previous in [('campaign_days', 'false'), ('previous_campaign_days', 'true')] %}
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        {{ is_previous }} as is_previous,
        campaign_totals.*
    from campaigns
    cross join
        lateral (
            select
                {{ summed_counts(days, campaign_counts() + human_counts() + coverage_counts()) }}
            from {{ days }}
            where
                {{ days }}.workspace_id = campaigns.workspace_id
                and {{ days }}.campaign_id = campaigns.campaign_id
        ) as campaign_totals
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
)

select
    workspace_id,
    campaign_id,
    is_previous,
    {{ public_counts(campaign_counts()) }},
    {{ public_rates(campaign_rates()) }},
    {{ public_counts(human_counts()) }},
    {{ public_rates(human_rates() + ['human_coverage']) }}
from totals
