{%- set significance_level = 0.05 %}
{#- the z-test is an approximation, which needs this many successes and failures of each campaign -#}
{%- set min_of_each_outcome = 5 %}

with compared_campaigns as (
    select * from {{ ref('int_compared_campaigns') }}
),

requested as (
    select
        metric,
        position
    from jsonb_array_elements_text({{ request_metrics() }}) with ordinality as requested (metric, position)
),

-- sign: 1 if a higher rate is better, -1 if a lower one is
outcomes as (
    select
        compared_campaigns.workspace_id,
        compared_campaigns.campaign_id,
        requested.metric,
        requested.position,
        rates.successes,
        rates.trials,
        rates.sign
    from compared_campaigns
    cross join
        lateral (
            values
            {{ compared_rate_values() | indent(12) }}
        ) as rates (metric, successes, trials, sign)
    inner join requested on rates.metric = requested.metric
),

ranked as (
    select
        *,
        -- 30 decimals: equal fractions are equal and different ones differ, however large their parts are
        row_number() over (
            partition by workspace_id, metric
            order by sign * round(successes * 1e30 / trials) desc, campaign_id collate "C"
        ) as rank,
        count(*) over (partition by workspace_id, metric) as campaigns
    from outcomes
    where trials > 0
),

best_two as (
    select
        workspace_id,
        metric,
        campaigns,
        max(campaign_id) filter (where rank = 1) as best,
        max(successes) filter (where rank = 1) as successes_1,
        max(trials) filter (where rank = 1) as trials_1,
        max(successes) filter (where rank = 2) as successes_2,
        max(trials) filter (where rank = 2) as trials_2
    from ranked
    where rank <= 2
    group by workspace_id, metric, campaigns
),

compared_pairs as (
    select
        *,
        successes_1::numeric * trials_2 = successes_2::numeric * trials_1 as is_tie,
        least(
            successes_1, trials_1 - successes_1, successes_2, trials_2 - successes_2
        ) < {{ min_of_each_outcome }} as is_too_small,
        (successes_1 + successes_2)::float8 / (trials_1 + trials_2) as pooled_rate
    from best_two
    where campaigns >= 2
),

-- pooled two-proportion z-test, two-sided, times the number of pairs (Bonferroni)
tested as (
    select
        workspace_id,
        metric,
        case when not is_tie then best end as winner,
        case
            when is_too_small then null
            when is_tie then 1
            else
                least(
                    1,
                    campaigns * (campaigns - 1) / 2
                    * erfc(
                        abs(successes_1::float8 / trials_1 - successes_2::float8 / trials_2)
                        / sqrt(pooled_rate * (1 - pooled_rate) * (1.0 / trials_1 + 1.0 / trials_2)::float8)
                        / sqrt(2::float8)
                    )
                )
        end::float8 as p_value
    from compared_pairs
),

-- a requested rate has a row even if it cannot be tested
compared_metrics as (
    select distinct
        workspace_id,
        metric,
        position
    from outcomes
)

select
    workspace_id,
    metric,
    tested.winner,
    tested.p_value,
    coalesce(tested.p_value < {{ significance_level }}, false) as is_significant
from compared_metrics
left join tested using (workspace_id, metric)
order by workspace_id, compared_metrics.position
