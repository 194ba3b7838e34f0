with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

mailboxes as (
    select * from {{ ref('int_requested_mailboxes') }}
),

health_scores as (
    select * from {{ ref('int_health_scores_last_day') }}
),

campaign_days as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_campaign_days'),
            columns=['workspace_id', 'mailbox_id', 'domain_id', 'sent', 'bounced', 'hard_bounced', 'complained'],
            where=is_in_window('sent_date'),
        )
    }}
),

-- added up before the mailboxes' domains are looked up: fewer rows to join
mailbox_totals as (
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

workspace_totals as (
    select
        mailbox_totals.workspace_id,
        sum(mailbox_totals.sent) as sent,
        sum(mailbox_totals.bounced) as bounced,
        sum(mailbox_totals.hard_bounced) as hard_bounced,
        sum(mailbox_totals.complained) as complained
    from mailbox_totals
    left join mailboxes
        on
            mailbox_totals.workspace_id = mailboxes.workspace_id
            and mailbox_totals.mailbox_id = mailboxes.mailbox_id
    where {{ is_requested_domain('mailbox_totals', 'mailboxes') }}
    group by mailbox_totals.workspace_id
),

totals as (
    select
        workspace_id,
        coalesce(workspace_totals.sent, 0) as sent,
        coalesce(workspace_totals.bounced, 0) as bounced,
        coalesce(workspace_totals.hard_bounced, 0) as hard_bounced,
        coalesce(workspace_totals.complained, 0) as complained
    from workspaces
    left join workspace_totals using (workspace_id)
)

select
    workspace_id,
    {{ rate('estimated_inbox_placement_rate') }} as estimated_inbox_placement_rate,
    {{ rate('spam_rate') }} as spam_rate,
    {{ rate('bounce_rate') }} as bounce_rate,
    health_scores.score as health_score,
    totals.hard_bounced::bigint as hard_bounces,
    (totals.bounced - totals.hard_bounced)::bigint as soft_bounces,
    {{ rate('hard_bounce_rate') }} as hard_bounce_rate,
    {{ rate('soft_bounce_rate') }} as soft_bounce_rate
from totals
left join health_scores using (workspace_id)
