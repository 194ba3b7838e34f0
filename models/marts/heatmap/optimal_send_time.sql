{#-
    The model: a cell's score is the overall score, plus an effect of its weekday, of its hour, and of the cell itself. Each of the
    three kinds of effects has a beta-binomial prior around 0, whose strength is estimated from how much the groups differ. Over
    mail without a pattern it is so strong that all effects are 0, and no cell is better than another: it is this that corrects for
    168 comparisons. See docs/decisions/0077-best-time-to-send.md for how often it errs.
-#}
{%- set z = '1.959964' %}
{#- the z-score that a true difference of one half would have in the busiest hour of the day; less is too little data -#}
{%- set min_power = 4 %}

with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

send_hours as (
    select
        workspace_id,
        local_date,
        weekday,
        hour,
        sent::float8 as sent,
        opened::float8 as opened,
        clicked::float8 as clicked,
        replied::float8 as replied,
        -- the sum of the messages' scores, from 0 to 1 each
        (30 * opened::float8 + 40 * clicked::float8 + 30 * replied::float8) / 100 as engaged
    from {{ ref('int_send_hours') }}
),

cells as (
    select
        workspace_id,
        weekday,
        hour,
        sum(sent) as sent,
        sum(engaged) as engaged,
        sum(engaged ^ 2 / sent) as squares_of_hours,
        count(*) as hours_with_mail
    from send_hours
    group by workspace_id, weekday, hour
),

dates as (
    select
        workspace_id,
        weekday,
        local_date,
        sum(sent) as sent,
        sum(engaged) as engaged
    from send_hours
    group by workspace_id, weekday, local_date
),

weekdays as (
    select
        workspace_id,
        weekday,
        sum(sent) as sent,
        sum(engaged) as engaged,
        sum(engaged ^ 2 / sent) as squares_of_dates,
        count(*) as dates_with_mail
    from dates
    group by workspace_id, weekday
),

totals as (
    select
        workspace_id,
        sum(sent) as sent,
        sum(engaged) / sum(sent) as score,
        -- the mean of the messages' squared scores, at most: a clicked message is also opened, and how many of those replied to
        -- were opened or clicked is not counted
        (0.09 * sum(opened) + 0.4 * sum(clicked) + 0.27 * sum(replied) + 0.24 * least(sum(clicked), sum(replied)))
        / sum(sent) as square
    from send_hours
    group by workspace_id
),

message_variances as (
    select
        workspace_id,
        sent,
        score,
        least(square - score ^ 2, score * (1 - score)) as variance
    from totals
),

cell_overdispersion as (
    select
        workspace_id,
        {{
            overdispersion(
                'sum(cells.squares_of_hours)', 'sum(cells.engaged ^ 2 / cells.sent)', 'sum(cells.hours_with_mail) - count(*)',
                'max(message_variances.variance)',
            )
        }} as factor
    from cells
    inner join message_variances using (workspace_id)
    group by workspace_id
),

weekday_overdispersion as (
    select
        workspace_id,
        {{
            overdispersion(
                'sum(weekdays.squares_of_dates)', 'sum(weekdays.engaged ^ 2 / weekdays.sent)',
                'sum(weekdays.dates_with_mail) - count(*)', 'max(message_variances.variance)',
            )
        }} as factor
    from weekdays
    inner join message_variances using (workspace_id)
    group by workspace_id
),

variances as (
    select
        workspace_id,
        message_variances.sent,
        message_variances.score,
        message_variances.variance * cell_overdispersion.factor as variance,
        message_variances.variance * greatest(cell_overdispersion.factor, weekday_overdispersion.factor) as variance_of_weekdays
    from message_variances
    inner join cell_overdispersion using (workspace_id)
    inner join weekday_overdispersion using (workspace_id)
),

-- hours of the day differ in their weekdays and weekdays in their hours: first hours alone, then weekdays given the hours,
-- then the hours given the weekdays
hours as (
    select
        workspace_id,
        cells.hour,
        sum(cells.sent) as sent,
        sum(cells.engaged) as engaged,
        sum(cells.sent) * max(variances.score) as expected,
        max(variances.variance) as variance,
        {{ is_measured('sum(cells.sent)', 'max(variances.score)', 'max(variances.variance)') }} as is_measured
    from cells
    inner join variances using (workspace_id)
    group by workspace_id, cells.hour
),

variance_between_hours as (
    select
        workspace_id,
        {{ variance_between('variance') }} as between_hours
    from hours
    group by workspace_id
),

hour_effects as (
    select
        workspace_id,
        hours.hour,
        {{ shrunk_effect('variance_between_hours.between_hours') }} as effect
    from hours
    inner join variance_between_hours using (workspace_id)
),

weekdays_given_hours as (
    select
        workspace_id,
        cells.weekday,
        sum(cells.sent) as sent,
        sum(cells.engaged) as engaged,
        sum(cells.sent * (variances.score + hour_effects.effect)) as expected,
        max(variances.variance_of_weekdays) as variance,
        {{ is_measured('sum(cells.sent)', 'max(variances.score)', 'max(variances.variance_of_weekdays)') }} as is_measured
    from cells
    inner join variances using (workspace_id)
    inner join hour_effects using (workspace_id, hour)
    group by workspace_id, cells.weekday
),

variance_between_weekdays as (
    select
        workspace_id,
        {{ variance_between('variance') }} as between_weekdays
    from weekdays_given_hours
    group by workspace_id
),

weekday_effects as (
    select
        workspace_id,
        weekdays_given_hours.weekday,
        {{ shrunk_effect('variance_between_weekdays.between_weekdays') }} as effect,
        {{ variance_of_effect('variance_between_weekdays.between_weekdays', 'variance') }} as effect_variance
    from weekdays_given_hours
    inner join variance_between_weekdays using (workspace_id)
),

hours_given_weekdays as (
    select
        workspace_id,
        cells.hour,
        sum(cells.sent) as sent,
        sum(cells.engaged) as engaged,
        sum(cells.sent * (variances.score + weekday_effects.effect)) as expected,
        max(variances.variance) as variance,
        {{ is_measured('sum(cells.sent)', 'max(variances.score)', 'max(variances.variance)') }} as is_measured
    from cells
    inner join variances using (workspace_id)
    inner join weekday_effects using (workspace_id, weekday)
    group by workspace_id, cells.hour
),

variance_between_hours_given_weekdays as (
    select
        workspace_id,
        {{ variance_between('variance') }} as between_hours
    from hours_given_weekdays
    group by workspace_id
),

hour_effects_given_weekdays as (
    select
        workspace_id,
        hours_given_weekdays.hour,
        {{ shrunk_effect('variance_between_hours_given_weekdays.between_hours') }} as effect,
        {{ variance_of_effect('variance_between_hours_given_weekdays.between_hours', 'variance') }} as effect_variance
    from hours_given_weekdays
    inner join variance_between_hours_given_weekdays using (workspace_id)
),

additive as (
    select
        workspace_id,
        cells.weekday,
        cells.hour,
        cells.sent,
        cells.engaged,
        variances.score,
        variances.variance,
        variances.score + weekday_effects.effect + hour_effects_given_weekdays.effect as additive_score,
        cells.sent * (variances.score + weekday_effects.effect + hour_effects_given_weekdays.effect) as expected,
        {{ is_measured('cells.sent', 'variances.score', 'variances.variance') }} as is_measured,
        weekday_effects.effect_variance + hour_effects_given_weekdays.effect_variance as additive_variance
    from cells
    inner join variances using (workspace_id)
    inner join weekday_effects using (workspace_id, weekday)
    inner join hour_effects_given_weekdays using (workspace_id, hour)
),

variance_between_cells as (
    select
        workspace_id,
        {{
            variance_between(
                'variance',
                'count(*) filter (where is_measured) - count(distinct weekday) filter (where is_measured)'
                ~ ' - count(distinct hour) filter (where is_measured) + 1',
            )
        }} as between_cells
    from additive
    group by workspace_id
),

estimates as (
    select
        workspace_id,
        additive.weekday,
        additive.hour,
        additive.sent,
        additive.engaged / additive.sent as own_score,
        additive.score as overall_score,
        least(
            greatest(additive.additive_score + {{ shrunk_effect('variance_between_cells.between_cells') }}, 0), 1
        ) as estimated_score,
        additive.additive_variance
        / case when additive.is_measured then 1 + additive.sent * variance_between_cells.between_cells else 1 end ^ 2
        + {{ variance_of_effect('variance_between_cells.between_cells', 'additive.variance') }} as estimate_variance
    from additive
    inner join variance_between_cells using (workspace_id)
),

-- as in a beta distribution, the variance changes with the score
half_widths as (
    select
        *,
        {{ z }} * sqrt(
            estimate_variance * estimated_score * (1 - estimated_score) / nullif(overall_score * (1 - overall_score), 0)
        ) as half_width
    from estimates
),

ranked as (
    select
        *,
        greatest(estimated_score - half_width, 0) as low,
        least(estimated_score + half_width, 1) as high,
        row_number() over (
            partition by workspace_id
            -- 12 decimals: equal bounds must stay equal, whatever the order of the sums
            order by round((estimated_score - half_width)::numeric, 12) desc nulls last, sent desc, weekday asc, hour asc
        ) as place
    from half_widths
),

best as (
    select * from ranked
    where place = 1 and round(low::numeric, 12) > round(overall_score::numeric, 12)
),

-- how clearly the data would show a difference of one half
powers as (
    select
        workspace_id,
        max(0.5 * variances.score * sqrt(hours.sent * (1 - hours.sent / variances.sent) / nullif(hours.variance, 0))) as power
    from hours
    inner join variances using (workspace_id)
    group by workspace_id
)

select
    workspace_id,
    {{ weekday_name('best.weekday') }} as day_of_week,
    best.hour,
    round(100 * best.own_score::numeric, 2)::numeric(5, 2) as engagement_score,
    best.sent::bigint as emails_sent,
    round(100 * best.estimated_score::numeric, 2)::numeric(5, 2) as estimated_score,
    round(100 * best.low::numeric, 2)::numeric(5, 2) as low,
    round(100 * best.high::numeric, 2)::numeric(5, 2) as high,
    round((100 * (best.estimated_score / best.overall_score - 1))::numeric, 2)::numeric(9, 2) as lift,
    case
        when best.workspace_id is not null then null
        when coalesce(powers.power, 0) < {{ min_power }} then 'TOO_LITTLE_DATA'
        else 'NO_DIFFERENCE'
    end as optimal_send_time_reason
from workspaces
left join best using (workspace_id)
left join powers using (workspace_id)
