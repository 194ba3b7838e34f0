with {{ requested_workspaces() }},

{{ requested_campaigns_and_none() }},

{{ requested_mailboxes() }},

{{ requested_campaign_days(['mailbox_id', 'domain_id']) }},

assignments as (
    select
        workspace_id,
        domain_id,
        smtp_ip_address_id,
        is_blacklisted,
        last_reputation_check_at
    from {{ ref('dim_ip_assignments') }} as dim_ip_assignments
    where
        {{ is_true_for_request('dim_ip_assignments') }}
        and is_active
        and domain_id = coalesce({{ request_domain_id() }}, domain_id)
),

-- with a campaign: the domains of the mailboxes that it sent from
sending_domains as (
    select distinct
        campaign_days.workspace_id,
        {{ domain_of('campaign_days') }} as domain_id
    from campaigns_and_none
    inner join campaign_days
        on
            campaigns_and_none.workspace_id = campaign_days.workspace_id
            and campaigns_and_none.campaign_id = campaign_days.campaign_id
    left join mailboxes
        on
            campaign_days.workspace_id = mailboxes.workspace_id
            and campaign_days.mailbox_id = mailboxes.mailbox_id
    where
        {{ request_campaign_id() }} is not null
        and campaign_days.mailbox_id <> ''
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
