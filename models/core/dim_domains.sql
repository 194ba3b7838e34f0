{{
    config(
        unique_key=['workspace_id', 'domain_id'],
        indexes=[{'columns': ['workspace_id', 'domain_id']}],
        meta={'full_snapshot': true},
    )
}}

with domains as (
    select * from {{ ref('stg_domains') }}
    where domain_id <> '' and workspace_id <> ''
),

campaign_days as (
    select * from {{ ref('fct_campaign_days') }}
    where {{ is_current() }} and not {{ is_blank('domain_id') }}
),

mailboxes as (
    select * from {{ ref('stg_mailboxes') }}
    where domain_id <> '' and workspace_id <> ''
),

other_domains as (
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
    -- a domain without a name, or that is not in the app, is named by its id
    coalesce(nullif(domains.domain, ''), domain_id) as domain,
    domains.domain_id is not null as is_in_app,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from domains
full join other_domains using (workspace_id, domain_id)
