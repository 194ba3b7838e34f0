with {{ requested_workspaces() }},

{{ requested_mailboxes() }},

-- with a campaign: the mailboxes that it sent from
sending_mailboxes as (
    select distinct
        workspace_id,
        mailbox_id,
        domain_id
    from {{ ref('fct_campaign_days') }} as fct_campaign_days
    where
        {{ is_visible_as_of('fct_campaign_days') }}
        and {{ is_in_window('sent_date') }}
        and campaign_id = {{ request_campaign_id() }}
        and mailbox_id <> ''
),

assignments as (
    select
        workspace_id,
        domain_id,
        smtp_ip_address_id,
        is_blacklisted,
        last_reputation_check_at
    from {{ ref('dim_ip_assignments') }} as dim_ip_assignments
    where
        {{ is_visible_as_of('dim_ip_assignments') }}
        and is_active
        and domain_id = coalesce({{ request_domain_id() }}, domain_id)
),

sending_domains as (
    select distinct
        sending_mailboxes.workspace_id,
        {{ domain_of('sending_mailboxes') }} as domain_id
    from sending_mailboxes
    left join mailboxes
        on
            sending_mailboxes.workspace_id = mailboxes.workspace_id
            and sending_mailboxes.mailbox_id = mailboxes.mailbox_id
),

used_assignments as (
    select assignments.*
    from assignments
    left join sending_domains
        on
            assignments.workspace_id = sending_domains.workspace_id
            and assignments.domain_id = sending_domains.domain_id
    where sending_domains.domain_id is not null or {{ request_campaign_id() }} is null
)

select
    workspace_id,
    coalesce(bool_or(used_assignments.is_blacklisted), false) as any_ip_blacklisted,
    count(distinct used_assignments.smtp_ip_address_id) as ips_checked,
    max(used_assignments.last_reputation_check_at) as last_check
from workspaces
left join used_assignments using (workspace_id)
group by workspace_id
