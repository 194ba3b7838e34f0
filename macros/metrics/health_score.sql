{#
    A query of the workspace's health score for each day from `first_day` to the end of the window: workspace_id, date, score.
    A day has a score if a mailbox sent anything in the 30 days up to it. The score is the mean of the mailboxes' scores, weighted
    by what each sent in these 30 days.

    Health is a mailbox's own, whatever campaign it sent for, so mail without a mailbox has none. A requested campaign only
    selects the mailboxes that sent for it in the window; with a requested domain, those that sent mail of that domain for it. Weights
    and limits: seeds/health_score_factors.csv.

    `campaign_days`, `mailboxes` and `factors` are the relations of fct_campaign_days, int_requested_mailboxes and
    dim_health_score_factors.
#}
{% macro health_scores(campaign_days, mailboxes, factors, first_day) -%}
{%- set days_back = 30 -%}
{%- set min_sent_for_a_drop = 50 -%}
with mailboxes as (
    select * from {{ mailboxes }}
),

health_factors as (
    select
        {%- for factor in ['hard_bounce_rate', 'spam_complaint_rate', 'unsubscribe_rate', 'drop_of_sent'] %}
        {%- for value in ['weight', 'starts_at', 'ends_at'] %}
        max({{ value }}) filter (where factor = '{{ factor }}') as {{ factor }}_{{ value }}{{ ',' if not loop.last }}
        {%- endfor %}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ factors }} as factors
    where {{ is_visible_as_of('factors') }}
),

-- materialized: the planner expects one row of it, and would compute it again for each cell
campaign_mailboxes as materialized (
    select distinct
        campaign_days.workspace_id,
        campaign_days.mailbox_id
    from {{ campaign_days }} as campaign_days
    left join mailboxes
        on
            campaign_days.workspace_id = mailboxes.workspace_id
            and campaign_days.mailbox_id = mailboxes.mailbox_id
    where
        {{ is_visible_as_of('campaign_days') }}
        and {{ is_in_window('campaign_days.sent_date') }}
        and campaign_days.campaign_id = {{ request_campaign_id() }}
        and {{ is_requested_domain('campaign_days', 'mailboxes') }}
),

-- added up before the mailboxes' domains are looked up: fewer rows to join
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
    from {{ campaign_days }} as campaign_days
    where
        {{ is_visible_as_of('campaign_days') }}
        and sent_date between {{ first_day }} - {{ days_back - 1 }} and {{ request_range_end() }}
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
    left join campaign_mailboxes
        on
            domain_days.workspace_id = campaign_mailboxes.workspace_id
            and domain_days.mailbox_id = campaign_mailboxes.mailbox_id
    where
        (campaign_mailboxes.mailbox_id is not null or {{ request_campaign_id() }} is null)
        and {{ is_requested_domain('domain_days', 'mailboxes') }}
    group by domain_days.workspace_id, domain_days.mailbox_id, domain_days.sent_date
),

sending_mailboxes as (
    select distinct
        workspace_id,
        mailbox_id
    from mailbox_days
),

-- every day, so that a frame of rows is a frame of days
calendar as (
    select
        sending_mailboxes.workspace_id,
        sending_mailboxes.mailbox_id,
        day::date as date
    from sending_mailboxes
    cross join
        generate_series(
            ({{ first_day }} - {{ days_back - 1 }})::timestamp, {{ request_range_end() }}::timestamp, interval '1 day'
        ) as day
),

running_totals as (
    select
        calendar.workspace_id,
        calendar.date,
        sum(mailbox_days.sent) over thirty_days as sent,
        sum(mailbox_days.delivered) over thirty_days as delivered,
        sum(mailbox_days.hard_bounced) over thirty_days as hard_bounced,
        sum(mailbox_days.complained) over thirty_days as complained,
        sum(mailbox_days.unsubscribed) over thirty_days as unsubscribed,
        coalesce(sum(mailbox_days.sent) over this_week, 0) as sent_this_week,
        coalesce(sum(mailbox_days.sent) over week_before, 0) as sent_week_before
    from calendar
    left join mailbox_days
        on
            calendar.workspace_id = mailbox_days.workspace_id
            and calendar.mailbox_id = mailbox_days.mailbox_id
            and calendar.date = mailbox_days.sent_date
    window
        thirty_days as (
            partition by calendar.workspace_id, calendar.mailbox_id order by calendar.date
            rows between {{ days_back - 1 }} preceding and current row
        ),
        this_week as (
            partition by calendar.workspace_id, calendar.mailbox_id order by calendar.date
            rows between 6 preceding and current row
        ),
        week_before as (
            partition by calendar.workspace_id, calendar.mailbox_id order by calendar.date
            rows between 13 preceding and 7 preceding
        )
),

mailbox_scores as (
    select
        totals.workspace_id,
        totals.date,
        totals.sent,
        100 * (
            1
            - {{ health_penalty('hard_bounce_rate', 'totals.hard_bounced / totals.sent') }}
            - {{ health_penalty('spam_complaint_rate', 'totals.complained / totals.sent') }}
            - {{ health_penalty('unsubscribe_rate', 'coalesce(totals.unsubscribed / nullif(totals.delivered, 0), 0)') }}
            - case
                when totals.sent_week_before >= {{ min_sent_for_a_drop }}
                    then {{ health_penalty('drop_of_sent', '(totals.sent_week_before - totals.sent_this_week) / totals.sent_week_before') }}
                else 0
            end
        ) as score
    from running_totals as totals
    cross join health_factors
    where totals.sent > 0 and totals.date >= {{ first_day }}
)

select
    workspace_id,
    date,
    -- rounded to 12 decimals first: a numeric quotient is cut off, and must not fall below the half that it should be
    round(round(sum(score * sent) / sum(sent), 12))::int as score
from mailbox_scores
group by workspace_id, date
{%- endmacro %}


{# What a factor costs: nothing below its start, its whole weight from its end on, and in between a share of it. #}
{% macro health_penalty(factor, rate) -%}
    coalesce(
        health_factors.{{ factor }}_weight * least(greatest(
            ({{ rate }} - health_factors.{{ factor }}_starts_at)
            / nullif(health_factors.{{ factor }}_ends_at - health_factors.{{ factor }}_starts_at, 0), 0
        ), 1), 0
    )
{%- endmacro %}
