with source as (
    select * from {{ source('raw', 'smtp_ip_addresses') }}
),

-- {"list": true} and {"list": {"listed": true}} both occur; anything else is not listed
blacklist_counts as (
    select
        source.smtp_ip_address_id,
        count(*) as blacklists
    from source
    cross join
        lateral jsonb_each(
            case when jsonb_typeof(source.provider_blacklist_status) = 'object' then source.provider_blacklist_status end
        ) as blacklist (name, verdict)
    where
        blacklist.verdict = 'true'::jsonb
        or (jsonb_typeof(blacklist.verdict) = 'object' and blacklist.verdict -> 'listed' = 'true'::jsonb)
    group by source.smtp_ip_address_id
)

select
    {{ as_id('source.smtp_ip_address_id') }} as smtp_ip_address_id,
    source.ip_address,
    source.status as ip_address_status,
    source.reputation_state,
    coalesce(blacklist_counts.blacklists, 0) > 0 as is_blacklisted,
    source.last_reputation_check as last_reputation_check_at,
    source.updated_at
from source
left join blacklist_counts on source.smtp_ip_address_id = blacklist_counts.smtp_ip_address_id
