with compared_rates as (
    select * from {{ ref('int_compared_rates') }}
)

select
    workspace_id,
    campaign_id,
    metric,
    successes,
    trials,
    round(100 * low, 2)::numeric(5, 2) as low,
    round(100 * high, 2)::numeric(5, 2) as high
from compared_rates
where trials > 0
order by workspace_id, metric_position, campaign_position, campaign_id collate "C"
