{{ config(unique_key=['factor'], meta={'full_snapshot': true}) }}

with factors as (
    select * from {{ ref('health_score_factors') }}
)

-- versioned: dbt empties and refills a seed while the API reads
select
    factor,
    weight::numeric(9, 6),
    starts_at::numeric(9, 6),
    ends_at::numeric(9, 6),
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from factors
