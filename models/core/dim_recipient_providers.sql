{{
    config(
        unique_key=['domain'],
        meta={'full_snapshot': true},
        grants={'select': []},
    )
}}

-- only builds read it: no role may, because it has no workspace to choose its rows by
with listed as (
    select * from {{ ref('mailbox_providers') }}
)

select
    lower(domain) as domain,
    provider as recipient_provider,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from listed
