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

campaign_totals as (
    select
        workspace_id,
        count(*) as total_campaigns,
        count(*) filter (where campaign_status = 'sending') as active_campaigns
    from campaigns
    group by workspace_id
),

message_totals as (
    select
        workspace_id,
        sum(sent) as sent,
        sum(delivered) as delivered,
        sum(opened) as opened,
        sum(clicked) as clicked,
        sum(replied) as replied,
        sum(human_opened) as human_opened,
        sum(human_clicked) as human_clicked,
        sum(opens_and_clicks) as opens_and_clicks,
        sum(classified_opens_and_clicks) as classified_opens_and_clicks
    from campaign_days
    group by workspace_id
),

totals as (
    select
        workspace_id,
        coalesce(campaign_totals.total_campaigns, 0)::bigint as total_campaigns,
        coalesce(campaign_totals.active_campaigns, 0)::bigint as active_campaigns,
        coalesce(message_totals.sent, 0)::bigint as sent,
        coalesce(message_totals.delivered, 0)::bigint as delivered,
        coalesce(message_totals.opened, 0)::bigint as opened,
        coalesce(message_totals.clicked, 0)::bigint as clicked,
        coalesce(message_totals.replied, 0)::bigint as replied,
        coalesce(message_totals.human_opened, 0)::bigint as human_opened,
        coalesce(message_totals.human_clicked, 0)::bigint as human_clicked,
        message_totals.opens_and_clicks,
        message_totals.classified_opens_and_clicks
    from workspaces
    left join campaign_totals using (workspace_id)
    left join message_totals using (workspace_id)
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
