with {{ requested_campaigns() }},

{{
    requested_campaign_days([
        'sent',
        'delivered',
        'bounced',
        'opened',
        'clicked',
        'replied',
        'complained',
        'unsubscribed',
        'human_opened',
        'human_clicked',
    ])
}},

counted as (
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        campaigns.campaign_name,
        coalesce(sum(campaign_days.sent), 0)::bigint as emails_sent,
        coalesce(sum(campaign_days.delivered), 0)::bigint as emails_delivered,
        coalesce(sum(campaign_days.bounced), 0)::bigint as emails_bounced,
        coalesce(sum(campaign_days.opened), 0)::bigint as emails_opened,
        coalesce(sum(campaign_days.clicked), 0)::bigint as emails_clicked,
        coalesce(sum(campaign_days.replied), 0)::bigint as emails_replied,
        coalesce(sum(campaign_days.complained), 0)::bigint as spam_complaints,
        coalesce(sum(campaign_days.unsubscribed), 0)::bigint as unsubscribes,
        coalesce(sum(campaign_days.human_opened), 0)::bigint as human_emails_opened,
        coalesce(sum(campaign_days.human_clicked), 0)::bigint as human_emails_clicked
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
    emails_sent,
    emails_delivered,
    emails_bounced,
    emails_opened,
    emails_clicked,
    emails_replied,
    spam_complaints,
    unsubscribes,
    {{ rate('emails_delivered', 'emails_sent') }} as delivery_rate,
    {{ rate('emails_opened', 'emails_delivered') }} as open_rate,
    {{ rate('emails_clicked', 'emails_delivered') }} as click_rate,
    {{ rate('emails_clicked', 'emails_opened') }} as click_to_open_rate,
    {{ rate('emails_replied', 'emails_delivered') }} as reply_rate,
    {{ rate('emails_bounced', 'emails_sent') }} as bounce_rate,
    {{ rate('spam_complaints', 'emails_sent') }} as spam_rate,
    {{ rate('unsubscribes', 'emails_delivered') }} as unsubscribe_rate,
    human_emails_opened,
    human_emails_clicked,
    {{ rate('human_emails_opened', 'emails_delivered') }} as human_open_rate,
    {{ rate('human_emails_clicked', 'emails_delivered') }} as human_click_rate
from counted
