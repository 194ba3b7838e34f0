{#
    CTEs up to `health_scores`: a score, not rounded, for each workspace and day from `first_day` to the end of the window on
    which its mailboxes had sent anything in 30 days; of the mailboxes and domain that the request asks for.

    Health is a mailbox's, whatever campaign it sent for, so mail without a mailbox has none; and a campaign asked for only
    chooses the mailboxes. Needs `mailboxes` and `campaigns_and_none` before it.
#}
{% macro daily_health_scores(first_day) -%}
{%- set days_looked_at = 30 -%}
{%- set least_sent_for_a_drop = 50 -%}
health_factors as (
    select
        {%- for factor in ['hard_bounce_rate', 'spam_complaint_rate', 'unsubscribe_rate', 'drop_of_sent'] %}
        {%- for value in ['weight', 'starts_at', 'ends_at'] %}
        max({{ value }}) filter (where factor = '{{ factor }}') as {{ factor }}_{{ value }}{{ ',' if not loop.last }}
        {%- endfor %}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('dim_health_score_factors') }} as dim_health_score_factors
    where {{ is_true_for_request('dim_health_score_factors') }}
),

-- materialised: the planner takes it for one row, and would work it out again for each cell
sending_mailboxes as materialized (
    select distinct
        fct_campaign_days.workspace_id,
        fct_campaign_days.mailbox_id
    from campaigns_and_none
    inner join {{ ref('fct_campaign_days') }} as fct_campaign_days
        on
            campaigns_and_none.workspace_id = fct_campaign_days.workspace_id
            and campaigns_and_none.campaign_id = fct_campaign_days.campaign_id
            and fct_campaign_days.sent_date between {{ request_range_start() }} and {{ request_range_end() }}
    where
        {{ is_true_for_request('fct_campaign_days') }}
        and {{ request_campaign_id() }} is not null
),

-- of each mailbox, what it sent on each day that counts for a score
mailbox_days as (
    select
        cells.workspace_id,
        cells.mailbox_id,
        cells.sent_date,
        sum(cells.sent) as sent,
        sum(cells.delivered) as delivered,
        sum(cells.hard_bounced) as hard_bounced,
        sum(cells.complained) as complained,
        sum(cells.unsubscribed) as unsubscribed
    from {{ ref('fct_campaign_days') }} as cells
    left join mailboxes
        on
            cells.workspace_id = mailboxes.workspace_id
            and cells.mailbox_id = mailboxes.mailbox_id
    left join sending_mailboxes
        on
            cells.workspace_id = sending_mailboxes.workspace_id
            and cells.mailbox_id = sending_mailboxes.mailbox_id
    where
        {{ is_true_for_request('cells') }}
        and cells.sent_date between {{ first_day }} - {{ days_looked_at - 1 }} and {{ request_range_end() }}
        and cells.mailbox_id <> ''
        and (sending_mailboxes.mailbox_id is not null or {{ request_campaign_id() }} is null)
        and {{ is_of_requested_domain('cells') }}
    group by cells.workspace_id, cells.mailbox_id, cells.sent_date
),

sending as (
    select distinct
        workspace_id,
        mailbox_id
    from mailbox_days
),

-- every day, so that a window of rows is a window of days
calendar as (
    select
        sending.workspace_id,
        sending.mailbox_id,
        day::date as date
    from sending
    cross join
        generate_series(
            ({{ first_day }} - {{ days_looked_at - 1 }})::timestamp, {{ request_range_end() }}::timestamp, interval '1 day'
        ) as day
),

looked_back as (
    select
        calendar.workspace_id,
        calendar.date,
        sum(mailbox_days.sent) over thirty_days as sent,
        sum(mailbox_days.delivered) over thirty_days as delivered,
        sum(mailbox_days.hard_bounced) over thirty_days as hard_bounced,
        sum(mailbox_days.complained) over thirty_days as complained,
        sum(mailbox_days.unsubscribed) over thirty_days as unsubscribed,
        coalesce(sum(mailbox_days.sent) over later_week, 0) as later_sent,
        coalesce(sum(mailbox_days.sent) over earlier_week, 0) as earlier_sent
    from calendar
    left join mailbox_days
        on
            calendar.workspace_id = mailbox_days.workspace_id
            and calendar.mailbox_id = mailbox_days.mailbox_id
            and calendar.date = mailbox_days.sent_date
    window
        thirty_days as (
            partition by calendar.workspace_id, calendar.mailbox_id order by calendar.date
            rows between {{ days_looked_at - 1 }} preceding and current row
        ),
        later_week as (
            partition by calendar.workspace_id, calendar.mailbox_id order by calendar.date
            rows between 6 preceding and current row
        ),
        earlier_week as (
            partition by calendar.workspace_id, calendar.mailbox_id order by calendar.date
            rows between 13 preceding and 7 preceding
        )
),

mailbox_scores as (
    select
        looked_back.workspace_id,
        looked_back.date,
        looked_back.sent,
        100 * (
            1
            - {{ health_penalty('hard_bounce_rate', 'looked_back.hard_bounced / looked_back.sent') }}
            - {{ health_penalty('spam_complaint_rate', 'looked_back.complained / looked_back.sent') }}
            - {{ health_penalty('unsubscribe_rate', 'coalesce(looked_back.unsubscribed / nullif(looked_back.delivered, 0), 0)') }}
            - case
                when looked_back.earlier_sent >= {{ least_sent_for_a_drop }}
                    then {{ health_penalty('drop_of_sent', '(looked_back.earlier_sent - looked_back.later_sent) / looked_back.earlier_sent') }}
                else 0
            end
        ) as score
    from looked_back
    cross join health_factors
    where looked_back.sent > 0 and looked_back.date >= {{ first_day }}
),

health_scores as (
    select
        workspace_id,
        date,
        -- 12 decimals more than are shown: a quotient of numerics is cut, and must not fall below its half
        round(round(sum(score * sent) / sum(sent), 12))::int as score
    from mailbox_scores
    group by workspace_id, date
)
{%- endmacro %}


{# What a factor costs: nothing up to its start, its whole weight from its end on, between them in a straight line. #}
{% macro health_penalty(factor, rate) -%}
    coalesce(
        health_factors.{{ factor }}_weight * least(greatest(
            ({{ rate }} - health_factors.{{ factor }}_starts_at)
            / nullif(health_factors.{{ factor }}_ends_at - health_factors.{{ factor }}_starts_at, 0), 0
        ), 1), 0
    )
{%- endmacro %}
