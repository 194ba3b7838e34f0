{{ config(unique_key=['recipient_provider', 'metric'], meta={'full_snapshot': true}) }}

with limits as (
    select * from {{ ref('published_limits') }}
)

-- versioned: dbt empties and refills a seed while the API reads
select
    coalesce(recipient_provider, '') as recipient_provider,
    metric,
    warning_at::numeric(9, 6),
    critical_at::numeric(9, 6),
    published_by,
    source,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from limits
