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

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
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
                {{ summed_counts('campaign_days', [
                    'sent', 'delivered', 'opened', 'clicked', 'replied', 'human_opened', 'human_clicked',
                    'opens_and_clicks', 'classified_opens_and_clicks',
                ]) }}
            from campaign_days
            where campaign_days.workspace_id = workspaces.workspace_id
        ) as message_totals
)

select
    workspace_id,
    total_campaigns,
    active_campaigns,
    sent as emails_sent,
    delivered as emails_delivered,
    opened as emails_opened,
    clicked as emails_clicked,
    replied as emails_replied,
    {{ rate('delivery_rate') }} as delivery_rate,
    {{ rate('open_rate') }} as open_rate,
    {{ rate('click_rate') }} as click_rate,
    {{ rate('reply_rate') }} as reply_rate,
    human_opened as human_emails_opened,
    human_clicked as human_emails_clicked,
    {{ rate('human_open_rate') }} as human_open_rate,
    {{ rate('human_click_rate') }} as human_click_rate,
    {{ rate('human_coverage') }} as human_coverage
from totals
