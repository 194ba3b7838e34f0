{{ config(unique_key=['workspace_id', 'domain_id'], meta={'full_snapshot': true}) }}

with domains as (
    select * from {{ ref('stg_domains') }}
    where domain_id <> '' and workspace_id <> ''
),

campaign_days as (
    select * from {{ ref('fct_campaign_days') }}
    where {{ is_current() }} and domain_id <> ''
),

mailboxes as (
    select * from {{ ref('stg_mailboxes') }}
    where domain_id <> '' and workspace_id <> ''
),

domains_elsewhere as (
    select
        workspace_id,
        domain_id
    from campaign_days
    union
    select
        workspace_id,
        domain_id
    from mailboxes
)

select
    workspace_id,
    domain_id,
    -- a domain that only mail or a mailbox knows is named by its id
    coalesce(nullif(domains.domain, ''), domain_id) as domain,
    domains.domain_id is not null as is_in_app,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from domains
full join domains_elsewhere using (workspace_id, domain_id)
