{{ config(unique_key=['bounce_reason'], meta={'gives_every_key': true}) }}

with reasons as (
    select * from {{ ref('bounce_reasons') }}
)

-- a versioned table of its own, because a seed is emptied and filled while the API reads, and knows no batches
select
    bounce_reason,
    label,
    is_hard,
    {{ batch_id() }}::bigint as valid_from,
    {{ still_standing() }}::bigint as valid_to
from reasons
