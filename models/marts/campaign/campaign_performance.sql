with campaigns as (
    select * from {{ ref('int_requested_campaigns') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

totals as (
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        campaigns.campaign_name,
        coalesce(sum(campaign_days.sent), 0)::bigint as sent,
        coalesce(sum(campaign_days.delivered), 0)::bigint as delivered,
        coalesce(sum(campaign_days.bounced), 0)::bigint as bounced,
        coalesce(sum(campaign_days.opened), 0)::bigint as opened,
        coalesce(sum(campaign_days.clicked), 0)::bigint as clicked,
        coalesce(sum(campaign_days.replied), 0)::bigint as replied,
        coalesce(sum(campaign_days.complained), 0)::bigint as complained,
        coalesce(sum(campaign_days.unsubscribed), 0)::bigint as unsubscribed,
        coalesce(sum(campaign_days.human_opened), 0)::bigint as human_opened,
        coalesce(sum(campaign_days.human_clicked), 0)::bigint as human_clicked
    from campaigns
    left join campaign_days
        on
            campaigns.workspace_id = campaign_days.workspace_id
            and campaigns.campaign_id = campaign_days.campaign_id
    group by campaigns.workspace_id, campaigns.campaign_id, campaigns.campaign_name
)

select
    workspace_id,
    campaign_id,
    campaign_name,
    sent as emails_sent,
    delivered as emails_delivered,
    bounced as emails_bounced,
    opened as emails_opened,
    clicked as emails_clicked,
    replied as emails_replied,
    complained as spam_complaints,
    unsubscribed as unsubscribes,
    {{ rate('delivery_rate') }} as delivery_rate,
    {{ rate('open_rate') }} as open_rate,
    {{ rate('click_rate') }} as click_rate,
    {{ rate('click_to_open_rate') }} as click_to_open_rate,
    {{ rate('reply_rate') }} as reply_rate,
    {{ rate('bounce_rate') }} as bounce_rate,
    {{ rate('spam_rate') }} as spam_rate,
    {{ rate('unsubscribe_rate') }} as unsubscribe_rate,
    human_opened as human_emails_opened,
    human_clicked as human_emails_clicked,
    {{ rate('human_open_rate') }} as human_open_rate,
    {{ rate('human_click_rate') }} as human_click_rate
from totals
