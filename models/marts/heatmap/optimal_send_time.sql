{#- each hour's score is computed as if it had sent this many average messages more: one lucky message does not win -#}
{%- set prior_messages = 50 %}

with hours as (
    select * from {{ ref('int_hours_of_week') }}
),

totals as (
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
        -- 12 decimals: a numeric quotient is cut off, and equal scores must stay equal
        round(
            (hours.sent * {{ engagement_score('hours') }} + {{ prior_messages }} * {{ engagement_score('totals') }})
            / (hours.sent + {{ prior_messages }}), 12
        ) as smoothed_score
    from hours
    inner join totals on hours.workspace_id = totals.workspace_id
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
