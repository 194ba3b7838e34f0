{#- engagement of older mail is taken for final #}
{%- set days_until_final = 14 %}
{%- set days_of_mail = 90 %}

with delay_days as (
    select
        workspace_id,
        delay,
        bucket,
        messages
    from {{ ref('fct_workspace_delays') }} as fct_workspace_delays
    where
        {{ is_visible_as_of('fct_workspace_delays') }}
        and sent_date between {{ request_range_end() }} - {{ days_until_final + days_of_mail - 1 }}
        and {{ request_range_end() }} - {{ days_until_final }}
),

workspaces as (
    select workspace_id from {{ ref('int_requested_workspaces') }}
),

ages as (
    -- where it is among the bounds of buckets
    select
        hours,
        {{ buckets_per_doubling() }} * ln(hours * 3600.0::float8) / ln(2::float8) as place
    from unnest(array[1, 3, 6, 12, 24, 48, 72, 120, 168, 336]) as hours
),

buckets as (
    select
        workspace_id,
        delay,
        bucket,
        sum(messages)::bigint as messages
    from delay_days
    where delay <> 'delivered'
    group by workspace_id, delay, bucket
),

-- of the bucket that an age divides, a part as if its messages were spread evenly over it, by logarithms
until_age as (
    select
        buckets.workspace_id,
        ages.hours,
        buckets.delay,
        sum(buckets.messages) as messages,
        sum(
            buckets.messages
            * greatest(0, least(1, ages.place - (buckets.bucket - 1)))
        ) as messages_until
    from buckets
    cross join ages
    group by buckets.workspace_id, ages.hours, buckets.delay
)

select
    workspaces.workspace_id,
    ages.hours as age_hours,
    {{ maturity_of('opened') }} as opened_share,
    {{ maturity_of('clicked') }} as clicked_share,
    {{ maturity_of('replied') }} as replied_share,
    coalesce(max(until_age.messages) filter (where until_age.delay = 'opened'), 0)::bigint as emails_opened,
    coalesce(max(until_age.messages) filter (where until_age.delay = 'clicked'), 0)::bigint as emails_clicked,
    coalesce(max(until_age.messages) filter (where until_age.delay = 'replied'), 0)::bigint as emails_replied
from workspaces
cross join ages
left join until_age on workspaces.workspace_id = until_age.workspace_id and ages.hours = until_age.hours
group by workspaces.workspace_id, ages.hours
order by workspaces.workspace_id, ages.hours
