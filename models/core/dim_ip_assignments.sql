{{ config(unique_key=['workspace_id', 'domain_id', 'smtp_ip_address_id'], meta={'full_snapshot': true}) }}

with assignments as (
    select * from {{ ref('stg_domain_ip_assignments') }}
    where smtp_ip_address_id <> ''
),

domains as (
    select * from {{ ref('stg_domains') }}
    where domain_id <> '' and workspace_id <> ''
),

ip_addresses as (
    select * from {{ ref('stg_smtp_ip_addresses') }}
    where smtp_ip_address_id <> ''
)

select
    domains.workspace_id,
    assignments.domain_id,
    assignments.smtp_ip_address_id,
    ip_addresses.ip_address,
    assignments.assignment_status,
    -- as of the build: a mart that reads the clock would show two results of one batch
    coalesce(assignments.assignment_status = 'active' and coalesce(assignments.expires_at > now(), true), false) as is_active,
    ip_addresses.reputation_state,
    ip_addresses.is_blacklisted,
    assignments.assigned_at,
    assignments.expires_at,
    ip_addresses.last_reputation_check_at,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from assignments
inner join domains on assignments.domain_id = domains.domain_id
-- inner join: an address that the app does not have was never checked
inner join ip_addresses on assignments.smtp_ip_address_id = ip_addresses.smtp_ip_address_id
