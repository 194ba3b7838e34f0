with campaigns as (
    select * from {{ ref('int_requested_campaigns') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

link_days as (
    select
        workspace_id,
        campaign_id,
        link,
        clicks,
        human_clicks
    from {{ ref('fct_link_days') }} as fct_link_days
    where
        {{ is_visible_as_of('fct_link_days') }}
        and {{ is_in_window('sent_date') }}
)

select
    campaigns.workspace_id,
    campaigns.campaign_id,
    campaigns.campaign_name,
    message_totals.delivered as emails_delivered,
    message_totals.clicked as emails_clicked,
    message_totals.human_clicked as human_emails_clicked,
    link_totals.links,
    link_totals.clicks,
    link_totals.human_clicks
from campaigns
cross join
    lateral (
        select {{ summed_counts('campaign_days', ['delivered', 'clicked', 'human_clicked']) }}
        from campaign_days
        where campaign_days.workspace_id = campaigns.workspace_id and campaign_days.campaign_id = campaigns.campaign_id
    ) as message_totals
cross join
    lateral (
        select
            count(distinct link_days.link) as links,
            {{ summed_counts('link_days', ['clicks', 'human_clicks']) }}
        from link_days
        where link_days.workspace_id = campaigns.workspace_id and link_days.campaign_id = campaigns.campaign_id
    ) as link_totals
