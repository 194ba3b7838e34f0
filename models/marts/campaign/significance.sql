{#- Bonferroni's and the small sample's bounds, as the design has them -#}
{%- set significant_below = 0.05 %}
{%- set least_of_each_outcome = 5 %}

with {{ compared_campaigns() }},

asked as (
    select
        metric,
        place
    from jsonb_array_elements_text({{ request_metrics() }}) with ordinality as asked (metric, place)
),

-- sign: 1 where more is better, -1 where less is
outcomes as (
    select
        compared.workspace_id,
        compared.campaign_id,
        asked.metric,
        asked.place,
        rates.part,
        rates.whole,
        rates.sign
    from compared
    cross join
        lateral (
            values
            ('delivery_rate', compared.delivered, compared.sent, 1),
            ('open_rate', compared.opened, compared.delivered, 1),
            ('click_rate', compared.clicked, compared.delivered, 1),
            ('click_to_open_rate', compared.clicked, compared.opened, 1),
            ('reply_rate', compared.replied, compared.delivered, 1),
            ('bounce_rate', compared.bounced, compared.sent, -1),
            ('spam_rate', compared.complained, compared.sent, -1),
            ('unsubscribe_rate', compared.unsubscribed, compared.delivered, -1)
        ) as rates (metric, part, whole, sign)
    inner join asked on rates.metric = asked.metric
),

ranked as (
    select
        *,
        -- to 30 decimals: equal fractions of any size are equal, and different ones differ
        row_number() over (
            partition by workspace_id, metric
            order by sign * round(part * 1e30 / whole) desc, campaign_id collate "C"
        ) as rank,
        count(*) over (partition by workspace_id, metric) as campaigns
    from outcomes
    where whole > 0
),

best_two as (
    select
        workspace_id,
        metric,
        campaigns,
        max(campaign_id) filter (where rank = 1) as best,
        max(part) filter (where rank = 1) as part_1,
        max(whole) filter (where rank = 1) as whole_1,
        max(part) filter (where rank = 2) as part_2,
        max(whole) filter (where rank = 2) as whole_2
    from ranked
    where rank <= 2
    group by workspace_id, metric, campaigns
),

judged as (
    select
        *,
        part_1::numeric * whole_2 = part_2::numeric * whole_1 as is_tie,
        least(part_1, whole_1 - part_1, part_2, whole_2 - part_2) < {{ least_of_each_outcome }} as is_too_small,
        (part_1 + part_2)::float8 / (whole_1 + whole_2) as pooled
    from best_two
    where campaigns >= 2
),

-- pooled two-proportion z-test, two-sided, times the number of pairs
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
                        abs(part_1::float8 / whole_1 - part_2::float8 / whole_2)
                        / sqrt(pooled * (1 - pooled) * (1.0 / whole_1 + 1.0 / whole_2)::float8)
                        / sqrt(2::float8)
                    )
                )
        end::float8 as p_value
    from judged
),

-- each metric asked for, of each workspace that has campaigns to compare
compared_metrics as (
    select distinct
        workspace_id,
        metric,
        place
    from outcomes
)

select
    workspace_id,
    metric,
    tested.winner,
    tested.p_value,
    coalesce(tested.p_value < {{ significant_below }}, false) as is_significant
from compared_metrics
left join tested using (workspace_id, metric)
order by workspace_id, compared_metrics.place
