{#
    CTEs up to `health_scores`: a score, not rounded, for each workspace and day from `first_day` to the end of the window on
    which its mailboxes had sent anything in 30 days; of the mailboxes and domain that the request asks for.

    Health is a mailbox's, whatever campaign it sent for, so mail without a mailbox has none; and a campaign asked for only
    chooses the mailboxes. Needs `mailboxes` before it.
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
    where {{ is_visible_as_of('dim_health_score_factors') }}
),

-- materialised: the planner takes it for one row, and would work it out again for each cell
asked_mailboxes as materialized (
    select distinct
        workspace_id,
        mailbox_id
    from {{ ref('fct_campaign_days') }} as fct_campaign_days
    where
        {{ is_visible_as_of('fct_campaign_days') }}
        and {{ is_in_window('sent_date') }}
        and campaign_id = {{ request_campaign_id() }}
),

-- what was sent from each mailbox on each day that counts for a score, before its domain is looked up
domain_days as (
    select
        workspace_id,
        mailbox_id,
        domain_id,
        sent_date,
        sum(sent) as sent,
        sum(delivered) as delivered,
        sum(hard_bounced) as hard_bounced,
        sum(complained) as complained,
        sum(unsubscribed) as unsubscribed
    from {{ ref('fct_campaign_days') }} as fct_campaign_days
    where
        {{ is_visible_as_of('fct_campaign_days') }}
        and sent_date between {{ first_day }} - {{ days_looked_at - 1 }} and {{ request_range_end() }}
        and mailbox_id <> ''
    group by workspace_id, mailbox_id, domain_id, sent_date
),

mailbox_days as (
    select
        domain_days.workspace_id,
        domain_days.mailbox_id,
        domain_days.sent_date,
        sum(domain_days.sent) as sent,
        sum(domain_days.delivered) as delivered,
        sum(domain_days.hard_bounced) as hard_bounced,
        sum(domain_days.complained) as complained,
        sum(domain_days.unsubscribed) as unsubscribed
    from domain_days
    left join mailboxes
        on
            domain_days.workspace_id = mailboxes.workspace_id
            and domain_days.mailbox_id = mailboxes.mailbox_id
    left join asked_mailboxes
        on
            domain_days.workspace_id = asked_mailboxes.workspace_id
            and domain_days.mailbox_id = asked_mailboxes.mailbox_id
    where
        (asked_mailboxes.mailbox_id is not null or {{ request_campaign_id() }} is null)
        and {{ is_of_requested_domain('domain_days') }}
    group by domain_days.workspace_id, domain_days.mailbox_id, domain_days.sent_date
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
