{{ config(unique_key=['bounce_reason'], meta={'full_snapshot': true}) }}

with reasons as (
    select * from {{ ref('bounce_reasons') }}
)

-- versioned: dbt empties and refills a seed while the API reads
select
    bounce_reason,
    label,
    is_hard,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from reasons
