with {{ requested_workspaces() }},

{{ requested_mailboxes() }},

campaign_days as not materialized (
    {{
        of_requested_campaign(
            'fct_campaign_days',
            ['workspace_id', 'mailbox_id', 'domain_id', 'sent', 'bounced', 'hard_bounced', 'complained'],
            is_in_window('sent_date'),
        )
    }}
),

-- before each mailbox's domain is looked up
of_mailboxes as (
    select
        workspace_id,
        mailbox_id,
        domain_id,
        sum(sent) as sent,
        sum(bounced) as bounced,
        sum(hard_bounced) as hard_bounced,
        sum(complained) as complained
    from campaign_days
    group by workspace_id, mailbox_id, domain_id
),

{{ daily_health_scores(first_day=request_range_end()) }},

summed as (
    select
        of_mailboxes.workspace_id,
        sum(of_mailboxes.sent) as sent,
        sum(of_mailboxes.bounced) as bounced,
        sum(of_mailboxes.hard_bounced) as hard_bounced,
        sum(of_mailboxes.complained) as complained
    from of_mailboxes
    left join mailboxes
        on
            of_mailboxes.workspace_id = mailboxes.workspace_id
            and of_mailboxes.mailbox_id = mailboxes.mailbox_id
    where {{ is_of_requested_domain('of_mailboxes') }}
    group by of_mailboxes.workspace_id
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
