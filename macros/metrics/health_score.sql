{#
    A query of the workspace's health score for each day from `first_day` to `last_day` (default: the end of the window):
    workspace_id, date, score.
    A day has a score if a mailbox sent anything in the 30 days up to it. The score is the mean of the mailboxes' scores, weighted
    by what each sent in these 30 days.

    Health is a mailbox's own, whatever campaign it sent for, so mail without a mailbox has none. A requested campaign only
    selects the mailboxes that sent for it in the window; with a requested domain, those that sent mail of that domain for it. Weights
    and limits: seeds/health_score_factors.csv.

    Builds count the days of all mail: what a request without filters reads are the rows of `workspace_health_days`, or by mailbox
    those of `mailbox_health_days`. What is left to compute is the days after the last that was counted for the workspace, which are none
    if mail was built in the last two days, and requests with filters. Without these relations, all days are computed.

    `campaign_days`, `mailbox_days`, `mailboxes` and `factors` are the relations of fct_campaign_days, fct_mailbox_days,
    int_requested_mailboxes and dim_health_score_factors; `workspace_health_days` and `mailbox_health_days` those of the facts of
    these names.

    `window_start`: the first day of the window in which a requested campaign sent, if it is not the requested window; its last day is
    `last_day`.

    With `mailbox_health_days`: the query of each mailbox's own score in place of the mean, with what was measured and what it cost.
#}
{% macro health_scores(
    campaign_days, mailbox_days, mailboxes, factors, first_day, last_day=none, window_start=none,
    workspace_health_days=none, mailbox_health_days=none
) -%}
{%- set by_mailbox = mailbox_health_days is not none -%}
{#- of another window than the requested one, the last day is also its end -#}
{%- set window_end = last_day if window_start else request_range_end() -%}
{%- set window_start = window_start or request_range_start() -%}
{%- set last_day = last_day or request_range_end() -%}
{%- set days_back = 30 -%}
{%- set factor_names = ['hard_bounce_rate', 'spam_complaint_rate', 'unsubscribe_rate', 'drop_of_sent'] -%}
{%- set is_filtered = '(' ~ request_campaign_id() ~ ' is not null or ' ~ request_domain_id() ~ ' is not null)' -%}
{%- set first_computed_day = first_day -%}
{%- if workspace_health_days -%}
    {%- set first_computed_day %}(
        select
            case
                when {{ is_filtered }} then {{ first_day }}
                else greatest({{ first_day }}, (select min(counted_workspaces.counted_until) + 1 from counted_workspaces))
            end
    )
    {%- endset -%}
{%- endif -%}
with mailboxes as (
    select * from {{ mailboxes }}
),

health_factors as (
    select
        {%- for factor in factor_names %}
        {%- for value in ['weight', 'starts_at', 'ends_at'] %}
        max({{ value }}::float8) filter (where factor = '{{ factor }}') as {{ factor }}_{{ value }}{{ ',' if not loop.last }}
        {%- endfor %}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ factors }} as factors
    where {{ is_visible_as_of('factors', has_workspace=false) }}
),

{% if workspace_health_days -%}
-- a workspace alone in a request, all of them for an analyst
counted_workspaces as (
    select
        workspace_id,
        max(health_date) as counted_until
    from {{ workspace_health_days }} as health_days
    where {{ is_visible_as_of('health_days') }}
    group by workspace_id
),

{% endif -%}
campaign_mailboxes as (
    select
        campaign_days.workspace_id,
        campaign_days.mailbox_id
    from {{ campaign_days }} as campaign_days
    where
        {{ is_visible_as_of('campaign_days') }}
        and campaign_days.sent_date between {{ window_start }} and {{ window_end }}
        and campaign_days.campaign_id = {{ request_campaign_id() }}
        and {{ is_requested_domain('campaign_days') }}
),

sent_days as (
    select
        workspace_id,
        mailbox_id,
        sent_date as date,
        sent,
        delivered,
        hard_bounced,
        complained,
        unsubscribed
    from {{ mailbox_days }} as days
    where
        {{ is_visible_as_of('days') }}
        and sent_date between {{ first_computed_day }} - {{ days_back - 1 }} and {{ last_day }}
        {%- if workspace_health_days %}
        and {{ first_computed_day }} <= {{ last_day }}
        {%- endif %}
        and mailbox_id <> ''
        and {{ is_requested_domain('days') }}
        and (
            {{ request_campaign_id() }} is null
            or (workspace_id, mailbox_id) in (
                select
                    campaign_mailboxes.workspace_id,
                    campaign_mailboxes.mailbox_id
                from campaign_mailboxes
            )
        )
),

sending_mailboxes as (
    select distinct
        workspace_id,
        mailbox_id
    from sent_days
),

-- every day, so that a frame of rows is a frame of days
all_days as (
    select * from sent_days
    union all
    select
        sending_mailboxes.workspace_id,
        sending_mailboxes.mailbox_id,
        day::date as date,
        0 as sent,
        0 as delivered,
        0 as hard_bounced,
        0 as complained,
        0 as unsubscribed
    from sending_mailboxes
    cross join
        generate_series(
            ({{ first_computed_day }} - {{ days_back - 1 }})::timestamp, {{ last_day }}::timestamp, interval '1 day'
        ) as day
),

-- integers: their sums are bigint, and sums of bigint are numeric, which are slow to add up
mailbox_days as (
    select
        workspace_id,
        mailbox_id,
        date,
        sum(sent)::int as sent,
        sum(delivered)::int as delivered,
        sum(hard_bounced)::int as hard_bounced,
        sum(complained)::int as complained,
        sum(unsubscribed)::int as unsubscribed
    from all_days
    group by workspace_id, mailbox_id, date
),

running_totals as (
    select
        workspace_id,
        mailbox_id,
        date,
        {{ sums_of_health_windows() }}
    from mailbox_days
    -- by the mailbox first: PostgreSQL sorts fastest by the first column, and workspaces are few
    window
        thirty_days as (
            partition by mailbox_id, workspace_id order by date rows between {{ days_back - 1 }} preceding and current row
        ),
        this_week as (
            partition by mailbox_id, workspace_id order by date rows between 6 preceding and current row
        ),
        week_before as (
            partition by mailbox_id, workspace_id order by date rows between 13 preceding and 7 preceding
        )
),

totals as (
    select * from running_totals
    where
        sent > 0
        and date >= {{ first_computed_day }}
        {%- if workspace_health_days %}
        and (
            {{ is_filtered }}
            or date > coalesce(
                (
                    select counted_workspaces.counted_until from counted_workspaces
                    where counted_workspaces.workspace_id = running_totals.workspace_id
                ),
                '-infinity'
            )
        )
        {%- endif %}
    {%- if by_mailbox %}
    union all
    select
        workspace_id,
        mailbox_id,
        health_date as date,
        sent,
        delivered,
        hard_bounced,
        complained,
        unsubscribed,
        sent_this_week,
        sent_week_before
    from {{ mailbox_health_days }} as health_days
    where
        {{ is_visible_as_of('health_days') }}
        and health_date between {{ first_day }} and {{ last_day }}
        and not {{ is_filtered }}
    {%- endif %}
),

measured as (
    select
        totals.*,
        {%- for factor in factor_names %}
        {{ health_rate(factor, 'totals.') }} as {{ factor }}{{ ',' if not loop.last }}
        {%- endfor %}
    from totals
),

penalties as (
    select
        measured.*,
        {%- for factor in factor_names %}
        {{ health_penalty(factor, 'measured.' ~ factor) }} as {{ factor }}_penalty{{ ',' if not loop.last }}
        {%- endfor %}
    from measured
    cross join health_factors
),

mailbox_scores as (
    select
        *,
        100 * (1 - hard_bounce_rate_penalty - spam_complaint_rate_penalty - unsubscribe_rate_penalty - drop_of_sent_penalty) as score
    from penalties
)

{% if by_mailbox -%}
select
    workspace_id,
    mailbox_id,
    date,
    {{ rounded_health_score('score') }} as score,
    sent,
    sent_this_week,
    hard_bounce_rate,
    hard_bounce_rate_penalty,
    spam_complaint_rate,
    spam_complaint_rate_penalty,
    unsubscribe_rate,
    unsubscribe_rate_penalty,
    drop_of_sent,
    drop_of_sent_penalty
from mailbox_scores
{%- else -%}
select
    workspace_id,
    date,
    {{ rounded_health_score('sum(score * sent) / sum(sent)') }} as score
from mailbox_scores
group by workspace_id, date
{%- if workspace_health_days %}
union all
select
    health_days.workspace_id,
    health_days.health_date as date,
    {%- set penalties %}
        {%- for factor in factor_names %}
            - coalesce(health_factors.{{ factor }}_weight * health_days.{{ factor }}_penalized::float8 / health_days.sent, 0)
        {%- endfor %}
    {%- endset %}
    {{ rounded_health_score('100 * (1' ~ penalties ~ ')') }} as score
from {{ workspace_health_days }} as health_days
cross join health_factors
where
    {{ is_visible_as_of('health_days') }}
    and health_days.health_date between {{ first_day }} and {{ last_day }}
    and not {{ is_filtered }}
{%- endif %}
{%- endif %}
{%- endmacro %}


{# What a factor measures, as a fraction. `totals` is the prefix of the columns with a mailbox's sums, such as `totals.`. #}
{% macro health_rate(factor, totals='') -%}
    {%- set min_sent_for_a_drop = 50 -%}
    {%- if factor == 'hard_bounce_rate' -%}
        {{ totals }}hard_bounced::float8 / {{ totals }}sent
    {%- elif factor == 'spam_complaint_rate' -%}
        {{ totals }}complained::float8 / {{ totals }}sent
    {%- elif factor == 'unsubscribe_rate' -%}
        coalesce({{ totals }}unsubscribed::float8 / nullif({{ totals }}delivered, 0), 0)
    {%- else -%}
        case
            when {{ totals }}sent_week_before >= {{ min_sent_for_a_drop }}
                then ({{ totals }}sent_week_before - {{ totals }}sent_this_week)::float8 / {{ totals }}sent_week_before
            else 0
        end
    {%- endif -%}
{%- endmacro %}


{#
    What a mailbox sent in 30 days, times the fraction of the factor's weight that it loses: divided by what all mailboxes sent, the sum
    is the fraction that the workspace loses. A numeric, so that builds can subtract exactly what they added.
#}
{% macro penalized_messages(factor) -%}
    (sent * coalesce(least(greatest(
        (({{ health_rate(factor) }}) - {{ factor }}_starts_at) / nullif({{ factor }}_ends_at - {{ factor }}_starts_at, 0), 0
    ), 1), 0))::numeric(38, 15)
{%- endmacro %}


{# A score as it is shown. To 12 decimals first: a quotient is not exact, and must not fall below the half that it should be. #}
{% macro rounded_health_score(score) -%}
    round(round(({{ score }})::numeric, 12))::int
{%- endmacro %}


{# A share of 0 to 1 as it is shown, in per cent or in points of a score. To 12 decimals first, for the same reason. #}
{% macro health_per_cent(share) -%}
    round(round((100 * {{ share }})::numeric, 12), 2)::numeric(7, 2)
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


{# A lateral query of one row, the current limits of the factors: `<factor>_starts_at` and `<factor>_ends_at`. #}
{% macro health_limits(factors, factor_names) -%}
    (
        select
            {%- for factor in factor_names %}
            max(factors.starts_at::float8) filter (where factors.factor = '{{ factor }}') as {{ factor }}_starts_at,
            max(factors.ends_at::float8) filter (where factors.factor = '{{ factor }}') as {{ factor }}_ends_at
            {{- ',' if not loop.last }}
            {%- endfor %}
        from {{ factors }} as factors
        where {{ is_current('factors') }}
    ) as limits
{%- endmacro %}


{# What a health score is computed from: sums over the windows thirty_days, this_week and week_before, which the caller defines. #}
{% macro sums_of_health_windows() -%}
    sum(sent) over thirty_days as sent,
        sum(delivered) over thirty_days as delivered,
        sum(hard_bounced) over thirty_days as hard_bounced,
        sum(complained) over thirty_days as complained,
        sum(unsubscribed) over thirty_days as unsubscribed,
        sum(sent) over this_week as sent_this_week,
        coalesce(sum(sent) over week_before, 0) as sent_week_before
{%- endmacro %}
