with {{ requested_workspaces() }},

{{ requested_campaigns_and_none() }},

{{ requested_mailboxes() }},

{{
    requested_campaign_days([
        'mailbox_id',
        'domain_id',
        'sent',
        'bounced',
        'hard_bounced',
        'complained',
    ])
}},

{{ daily_health_scores(first_day=request_range_end()) }},

summed as (
    select
        campaign_days.workspace_id,
        sum(campaign_days.sent) as sent,
        sum(campaign_days.bounced) as bounced,
        sum(campaign_days.hard_bounced) as hard_bounced,
        sum(campaign_days.complained) as complained
    from campaigns_and_none
    inner join campaign_days
        on
            campaigns_and_none.workspace_id = campaign_days.workspace_id
            and campaigns_and_none.campaign_id = campaign_days.campaign_id
    left join mailboxes
        on
            campaign_days.workspace_id = mailboxes.workspace_id
            and campaign_days.mailbox_id = mailboxes.mailbox_id
    where {{ is_of_requested_domain('campaign_days') }}
    group by campaign_days.workspace_id
),

counted as (
    select
        workspace_id,
        coalesce(summed.sent, 0) as sent,
        coalesce(summed.bounced, 0) as bounced,
        coalesce(summed.hard_bounced, 0) as hard_bounced,
        coalesce(summed.complained, 0) as complained
    from workspaces
    left join summed using (workspace_id)
)

select
    counted.workspace_id,
    {{ rate('(counted.sent - counted.bounced - counted.complained)', 'counted.sent') }} as estimated_inbox_placement_rate,
    {{ rate('counted.complained', 'counted.sent') }} as spam_rate,
    {{ rate('counted.bounced', 'counted.sent') }} as bounce_rate,
    health_scores.score as health_score,
    counted.hard_bounced::bigint as hard_bounces,
    (counted.bounced - counted.hard_bounced)::bigint as soft_bounces,
    {{ rate('counted.hard_bounced', 'counted.sent') }} as hard_bounce_rate,
    {{ rate('(counted.bounced - counted.hard_bounced)', 'counted.sent') }} as soft_bounce_rate
from counted
left join health_scores on counted.workspace_id = health_scores.workspace_id
