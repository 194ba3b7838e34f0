with {{ requested_workspaces() }},

campaigns as (
    select
        workspace_id,
        count(*) as total_campaigns,
        count(*) filter (where campaign_status = 'sending') as active_campaigns
    from {{ ref('dim_campaigns') }} as dim_campaigns
    where {{ is_visible_as_of('dim_campaigns') }}
    group by workspace_id
),

{{
    requested_campaign_days([
        'sent',
        'delivered',
        'opened',
        'clicked',
        'replied',
        'human_opened',
        'human_clicked',
    ])
}},

summed as (
    select
        workspace_id,
        sum(sent) as sent,
        sum(delivered) as delivered,
        sum(opened) as opened,
        sum(clicked) as clicked,
        sum(replied) as replied,
        sum(human_opened) as human_opened,
        sum(human_clicked) as human_clicked
    from campaign_days
    group by workspace_id
),

counted as (
    select
        workspace_id,
        coalesce(campaigns.total_campaigns, 0)::bigint as total_campaigns,
        coalesce(campaigns.active_campaigns, 0)::bigint as active_campaigns,
        coalesce(summed.sent, 0)::bigint as emails_sent,
        coalesce(summed.delivered, 0)::bigint as emails_delivered,
        coalesce(summed.opened, 0)::bigint as emails_opened,
        coalesce(summed.clicked, 0)::bigint as emails_clicked,
        coalesce(summed.replied, 0)::bigint as emails_replied,
        coalesce(summed.human_opened, 0)::bigint as human_emails_opened,
        coalesce(summed.human_clicked, 0)::bigint as human_emails_clicked
    from workspaces
    left join campaigns using (workspace_id)
    left join summed using (workspace_id)
)

select
    workspace_id,
    total_campaigns,
    active_campaigns,
    emails_sent,
    emails_delivered,
    emails_opened,
    emails_clicked,
    emails_replied,
    {{ rate('emails_delivered', 'emails_sent') }} as delivery_rate,
    {{ rate('emails_opened', 'emails_delivered') }} as open_rate,
    {{ rate('emails_clicked', 'emails_delivered') }} as click_rate,
    {{ rate('emails_replied', 'emails_delivered') }} as reply_rate,
    human_emails_opened,
    human_emails_clicked,
    {{ rate('human_emails_opened', 'emails_delivered') }} as human_open_rate,
    {{ rate('human_emails_clicked', 'emails_delivered') }} as human_click_rate
from counted
