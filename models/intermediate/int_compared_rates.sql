with compared_campaigns as (
    select * from {{ ref('int_compared_campaigns') }}
),

requested as (
    select
        metric,
        position
    from jsonb_array_elements_text({{ request_metrics() }}) with ordinality as requested (metric, position)
)

select
    compared_campaigns.workspace_id,
    compared_campaigns.campaign_id,
    compared_campaigns.position as campaign_position,
    requested.metric,
    requested.position as metric_position,
    rates.successes,
    rates.trials,
    rates.sign,
    {{ wilson_lower_bound('rates.successes', 'rates.trials') }} as low,
    {{ wilson_upper_bound('rates.successes', 'rates.trials') }} as high
from compared_campaigns
cross join
    lateral (
        values
        {{ compared_rate_values() | indent(8) }}
    ) as rates (metric, successes, trials, sign)
inner join requested on rates.metric = requested.metric
