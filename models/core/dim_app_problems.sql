{{ config(unique_key=['workspace_id', 'app_table', 'row_id', 'problem'], meta={'full_snapshot': true}) }}

with workspaces as (
    select * from {{ ref('stg_workspaces') }}
),

campaigns as (
    select * from {{ ref('stg_campaigns') }}
),

domains as (
    select * from {{ ref('stg_domains') }}
),

mailboxes as (
    select * from {{ ref('stg_mailboxes') }}
),

ip_addresses as (
    select * from {{ ref('stg_smtp_ip_addresses') }}
),

assignments as (
    select * from {{ ref('stg_domain_ip_assignments') }}
),

-- an assignment belongs to the workspace of its domain
assigned as (
    select
        coalesce(domains.workspace_id, '') as workspace_id,
        assignments.domain_id,
        assignments.smtp_ip_address_id,
        assignments.problems,
        domains.domain_id is not null as is_known_domain,
        ip_addresses.smtp_ip_address_id is not null as is_known_ip_address
    from assignments
    left join domains on assignments.domain_id = domains.domain_id and domains.domain_id <> ''
    left join ip_addresses
        on assignments.smtp_ip_address_id = ip_addresses.smtp_ip_address_id and ip_addresses.smtp_ip_address_id <> ''
),

-- an IP address belongs to each workspace that it is assigned to
used_ip_addresses as (
    select distinct
        coalesce(assigned.workspace_id, '') as workspace_id,
        ip_addresses.smtp_ip_address_id,
        ip_addresses.problems
    from ip_addresses
    left join assigned on ip_addresses.smtp_ip_address_id = assigned.smtp_ip_address_id
),

rows_with_problems as (
    select
        workspace_id,
        'workspaces' as app_table,
        workspace_id as row_id,
        problems
    from workspaces
    union all
    select
        workspace_id,
        'campaigns' as app_table,
        campaign_id as row_id,
        problems
    from campaigns
    union all
    select
        workspace_id,
        'domains' as app_table,
        domain_id as row_id,
        problems
    from domains
    union all
    select
        mailboxes.workspace_id,
        'mailboxes' as app_table,
        mailboxes.mailbox_id as row_id,
        mailboxes.problems
        || case when mailboxes.domain_id <> '' and domains.domain_id is null then ' unknown_domain' else '' end
            as problems
    from mailboxes
    left join domains on mailboxes.domain_id = domains.domain_id and mailboxes.workspace_id = domains.workspace_id
    union all
    select
        workspace_id,
        'smtp_ip_addresses' as app_table,
        smtp_ip_address_id as row_id,
        problems
    from used_ip_addresses
    union all
    select
        workspace_id,
        'domain_ip_assignments' as app_table,
        domain_id || ' ' || smtp_ip_address_id as row_id,
        problems
        || case when domain_id <> '' and not is_known_domain then ' unknown_domain' else '' end
        || case when smtp_ip_address_id <> '' and not is_known_ip_address then ' unknown_ip_address' else '' end
            as problems
    from assigned
)

select
    workspace_id,
    app_table,
    row_id,
    problem,
    -- rows without an id have one row here
    count(*) as app_rows,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from rows_with_problems
cross join unnest(string_to_array(problems, ' ')) as problem
where problem <> ''
group by workspace_id, app_table, row_id, problem
