{{ config(unique_key=['bounce_reason'], meta={'full_snapshot': true}) }}

with reasons as (
    select * from {{ ref('bounce_reasons') }}
)

-- a versioned table of its own, because a seed is emptied and filled while the API reads, and knows no batches
select
    bounce_reason,
    label,
    is_hard,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from reasons
