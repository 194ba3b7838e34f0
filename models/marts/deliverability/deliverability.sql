with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

mailboxes as (
    select * from {{ ref('int_requested_mailboxes') }}
),

health_scores as (
    select * from {{ ref('int_health_scores_last_day') }}
),

mailbox_days as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_campaign_days'),
            columns=['workspace_id', 'mailbox_id', 'domain_id', 'sent', 'bounced', 'hard_bounced', 'complained'],
            where=is_in_window('sent_date'),
            of_all=ref('fct_mailbox_days'),
            of_workspace=ref('fct_workspace_days'),
        )
    }}
),

totals as (
    select
        workspaces.workspace_id,
        workspace_totals.*
    from workspaces
    cross join
        lateral (
            select {{ summed_counts('mailbox_days', ['sent', 'bounced', 'hard_bounced', 'complained']) }}
            from mailbox_days
            where mailbox_days.workspace_id = workspaces.workspace_id and {{ is_requested_domain('mailbox_days') }}
        ) as workspace_totals
)

select
    workspace_id,
    {{ rate('estimated_inbox_placement_rate') }} as estimated_inbox_placement_rate,
    {{ rate('spam_rate') }} as spam_rate,
    {{ rate('bounce_rate') }} as bounce_rate,
    health_scores.score as health_score,
    totals.hard_bounced as hard_bounces,
    (totals.bounced - totals.hard_bounced) as soft_bounces,
    {{ rate('hard_bounce_rate') }} as hard_bounce_rate,
    {{ rate('soft_bounce_rate') }} as soft_bounce_rate
from totals
left join health_scores using (workspace_id)
