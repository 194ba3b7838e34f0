{#- how many messages of the average an hour is mixed with, so that a lucky one does not win -#}
{%- set prior = 50 %}

with {{ requested_hours() }},

overall as (
    select
        workspace_id,
        sum(sent) as sent,
        sum(opened) as opened,
        sum(clicked) as clicked,
        sum(replied) as replied
    from hours
    group by workspace_id
),

scored as (
    select
        hours.workspace_id,
        hours.weekday,
        hours.hour,
        hours.sent,
        {{ engagement_score('hours') }} as score,
        -- 12 decimals: a quotient of numerics is cut, and two that are equal must be so
        round(
            (hours.sent * {{ engagement_score('hours') }} + {{ prior }} * {{ engagement_score('overall') }})
            / (hours.sent + {{ prior }}), 12
        ) as smoothed_score
    from hours
    inner join overall on hours.workspace_id = overall.workspace_id
),

ranked as (
    select
        *,
        row_number() over (
            partition by workspace_id
            order by smoothed_score desc, sent desc, weekday asc, hour asc
        ) as place
    from scored
)

select
    workspace_id,
    {{ weekday_name('weekday') }} as day_of_week,
    hour,
    round(score, 2)::numeric(5, 2) as engagement_score
from ranked
where place = 1
