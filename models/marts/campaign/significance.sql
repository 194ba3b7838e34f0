{%- set significance_level = 0.05 %}
{#- the z-test is an approximation, which needs this many successes and failures of each campaign -#}
{%- set min_of_each_outcome = 5 %}
{#- pairs grow with the square of the campaigns: if none are listed, those with the most mail are compared -#}
{%- set most_unlisted_campaigns = 10 %}

with compared_rates as (
    select * from {{ ref('int_compared_rates') }}
),

candidates as (
    select
        *,
        row_number() over (
            partition by workspace_id, metric
            order by trials desc, campaign_id collate "C"
        ) as position_by_trials
    from compared_rates
    where trials > 0
),

ranked as (
    select
        workspace_id,
        campaign_id,
        metric,
        successes,
        trials,
        successes::numeric / trials as share,
        low,
        high,
        -- 30 decimals: equal fractions are equal and different ones differ, however large their parts are
        row_number() over (
            partition by workspace_id, metric
            order by sign * round(successes * 1e30 / trials) desc, campaign_id collate "C"
        ) as rank
    from candidates
    where campaign_position is not null or position_by_trials <= {{ most_unlisted_campaigns }}
),

pairs as (
    select
        better.workspace_id,
        better.metric,
        better.rank as better_rank,
        worse.rank as worse_rank,
        better.campaign_id as better_campaign_id,
        worse.campaign_id as worse_campaign_id,
        better.share as better_share,
        worse.share as worse_share,
        abs(better.successes::float8 / better.trials - worse.successes::float8 / worse.trials) as distance,
        -- one division, so that it is rounded once
        (better.successes::numeric * worse.trials - worse.successes::numeric * better.trials)
        / (better.trials::numeric * worse.trials) as difference,
        better.successes::numeric * worse.trials = worse.successes::numeric * better.trials as is_tie,
        least(
            better.successes, better.trials - better.successes, worse.successes, worse.trials - worse.successes
        ) < {{ min_of_each_outcome }} as is_too_small,
        (better.successes + worse.successes)::float8 / (better.trials + worse.trials) as pooled_share,
        (1.0 / better.trials + 1.0 / worse.trials)::float8 as inverse_trials,
        -- Newcombe's hybrid score interval: the distances of each share from its own Wilson bounds, put together
        sqrt(power(better.share - better.low, 2) + power(worse.high - worse.share, 2)) as below,
        sqrt(power(better.high - better.share, 2) + power(worse.share - worse.low, 2)) as above
    from ranked as better
    inner join ranked as worse
        on
            better.workspace_id = worse.workspace_id
            and better.metric = worse.metric
            and better.rank < worse.rank
),

-- pooled two-proportion z-test, two-sided
tested as (
    select
        *,
        case
            when is_too_small then null
            when is_tie then 1
            else
                erfc(
                    distance
                    / sqrt(pooled_share * (1 - pooled_share) * inverse_trials)
                    / sqrt(2::float8)
                )
        end as p_value_of_pair
    from pairs
),

-- Holm: the smallest p times the number of pairs, the next one times one less, …; none is below the one before it
ordered_by_p as (
    select
        *,
        count(*) over (partition by workspace_id, metric)
        - row_number() over (p_values) + 1 as pairs_left
    from tested
    window p_values as (partition by workspace_id, metric order by p_value_of_pair nulls last, better_rank, worse_rank)
),

corrected as (
    select
        *,
        case
            when p_value_of_pair is not null
                then
                    least(
                        1,
                        max(pairs_left * p_value_of_pair) over (
                            partition by workspace_id, metric
                            order by pairs_left desc
                        )
                    )
        end as p_value
    from ordered_by_p
),

leads as (
    select
        workspace_id,
        metric,
        p_value,
        coalesce(p_value < {{ significance_level }}, false) as is_significant,
        case when not is_tie then better_campaign_id end as leading_campaign,
        case when not is_tie then worse_campaign_id end as runner_up,
        round(100 * difference, 2)::numeric(5, 2) as difference,
        round(100 * (difference - below), 2)::numeric(5, 2) as difference_low,
        round(100 * (difference + above), 2)::numeric(5, 2) as difference_high,
        {{ needed_sample_size('better_share', 'worse_share') }} as needed_sample_size
    from corrected
    where better_rank = 1 and worse_rank = 2
),

-- a requested rate has a row even if it cannot be tested
compared_metrics as (
    select distinct
        workspace_id,
        metric,
        metric_position
    from compared_rates
)

select
    workspace_id,
    metric,
    leads.leading_campaign,
    leads.runner_up,
    case when leads.is_significant then leads.leading_campaign end as winner,
    leads.p_value,
    coalesce(leads.is_significant, false) as is_significant,
    leads.difference,
    leads.difference_low,
    leads.difference_high,
    leads.needed_sample_size
from compared_metrics
left join leads using (workspace_id, metric)
order by workspace_id, compared_metrics.metric_position
