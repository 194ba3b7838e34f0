with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

mailboxes as (
    select * from {{ ref('int_requested_mailboxes') }}
),

assignments as (
    select
        workspace_id,
        domain_id,
        smtp_ip_address_id,
        is_blacklisted,
        last_reputation_check_at
    from {{ ref('dim_ip_assignments') }} as dim_ip_assignments
    where {{ is_visible_as_of('dim_ip_assignments') }} and is_active
),

-- the mailboxes that the requested campaign sent from in the window
campaign_mailboxes as (
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

campaign_domains as (
    select distinct
        campaign_mailboxes.workspace_id,
        {{ domain_of('campaign_mailboxes', 'mailboxes') }} as domain_id
    from campaign_mailboxes
    left join mailboxes
        on
            campaign_mailboxes.workspace_id = mailboxes.workspace_id
            and campaign_mailboxes.mailbox_id = mailboxes.mailbox_id
),

requested_assignments as (
    select assignments.*
    from assignments
    left join campaign_domains
        on
            assignments.workspace_id = campaign_domains.workspace_id
            and assignments.domain_id = campaign_domains.domain_id
    where
        assignments.domain_id = coalesce({{ request_domain_id() }}, assignments.domain_id)
        and (campaign_domains.domain_id is not null or {{ request_campaign_id() }} is null)
)

select
    workspace_id,
    coalesce(bool_or(requested_assignments.is_blacklisted), false) as any_ip_blacklisted,
    count(distinct requested_assignments.smtp_ip_address_id) as ips_checked,
    max(requested_assignments.last_reputation_check_at) as last_check
from workspaces
left join requested_assignments using (workspace_id)
group by workspace_id
