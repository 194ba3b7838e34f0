{{
    config(
        unique_key=['domain'],
        meta={'full_snapshot': true},
        grants={'select': []},
    )
}}

-- only builds read it: no role may, because it has no workspace to choose its rows by
with listed as (
    select
        lower(domain) as domain,
        provider
    from {{ ref('mailbox_providers') }}
),

mx_suffixes as (
    select
        lower(mx_suffix) as mx_suffix,
        provider
    from {{ ref('mailbox_provider_mx') }}
),

mx_hosts as (
    select
        domain,
        mx_host
    from {{ ref('stg_recipient_domain_mx') }}
    where mx_host <> ''
),

-- a.b.c is a.b.c, b.c and c: looked up, not compared with each suffix
mx_host_suffixes as (
    select
        mx_hosts.domain,
        parts.number,
        array_to_string((string_to_array(mx_hosts.mx_host, '.'))[parts.number:], '.') as mx_suffix
    from mx_hosts
    cross join lateral generate_series(1, least(cardinality(string_to_array(mx_hosts.mx_host, '.')), 10)) as parts (number)
),

-- the longest suffix; two spellings of a domain are one row
hosted as (
    select distinct on (mx_host_suffixes.domain)
        mx_host_suffixes.domain,
        mx_suffixes.provider
    from mx_host_suffixes
    inner join mx_suffixes on mx_host_suffixes.mx_suffix = mx_suffixes.mx_suffix
    order by mx_host_suffixes.domain, mx_host_suffixes.number, mx_suffixes.provider
)

select
    domain,
    coalesce(listed.provider, hosted.provider) as recipient_provider,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from listed
full join hosted using (domain)
