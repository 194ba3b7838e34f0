{%- set grain = ['workspace_id', 'health_date', 'mailbox_id'] %}
{%- set is_incremental_run = is_incremental_run() %}
{#- a health score is of so many days -#}
{%- set days_back = 29 %}
{#- days after a workspace's last mail that have rows: over a weekend, requests need not add up the days themselves -#}
{%- set days_ahead = 2 %}
{%- set counts = ['sent', 'delivered', 'hard_bounced', 'complained', 'unsubscribed'] %}

{{ config(unique_key=grain, indexes=[{'columns': ['workspace_id', 'health_date']}]) }}

with mailbox_days as not materialized (
    select
        workspace_id,
        mailbox_id,
        sent_date,
        {{ counts | join(',\n        ') }}
    from {{ ref('fct_mailbox_days') }} as fct_mailbox_days
    where {{ is_current() }} and mailbox_id <> ''
),

{% if is_incremental_run -%}
changed_days as (
    {{ changed_keys(ref('fct_mailbox_days'), ['workspace_id', 'mailbox_id', 'sent_date'], "mailbox_id <> ''") }}
),

{% if is_distributed() -%}
-- Citus sends no subquery of a row to its nodes
last_health_dates as ( -- noqa: ST03
    select
        workspace_id,
        max(health_date) as health_date
    from {{ this }}
    where {{ is_current() }}
    group by workspace_id
),

last_sent_dates as ( -- noqa: ST03
    select
        workspace_id,
        max(sent_date) as sent_date
    from mailbox_days
    group by workspace_id
),

{% endif -%}
-- until when this model has counted a workspace, and until when it will have
workspaces as (
    {%- if is_distributed() %}
    select
        changed_workspaces.workspace_id,
        last_health_dates.health_date as counted_until,
        last_sent_dates.sent_date + {{ days_ahead }} as count_until
    from (select distinct changed_days.workspace_id from changed_days) as changed_workspaces
    left join last_health_dates on changed_workspaces.workspace_id = last_health_dates.workspace_id
    left join last_sent_dates on changed_workspaces.workspace_id = last_sent_dates.workspace_id
    {%- else %}
    select
        workspace_id,
        {{ last_date_of(this, 'health_date', 'changed_workspaces.workspace_id') }} as counted_until,
        {{ last_date_of(ref('fct_mailbox_days'), 'sent_date', 'changed_workspaces.workspace_id', "mailbox_id <> ''") }}
        + {{ days_ahead }} as count_until
    from (select distinct changed_days.workspace_id from changed_days) as changed_workspaces
    {%- endif %}
),

-- days that are counted already: of the mailboxes that changed, from the first day that changed to the last that it is a part of
changed_mailboxes as ( -- noqa: ST03
    select
        changed_days.workspace_id,
        changed_days.mailbox_id,
        min(changed_days.sent_date) as first_date,
        least(max(changed_days.sent_date) + {{ days_back }}, workspaces.counted_until, workspaces.count_until) as last_date
    from changed_days
    inner join workspaces using (workspace_id)
    -- not least(): it ignores nulls
    where workspaces.counted_until is not null and workspaces.count_until is not null
    group by changed_days.workspace_id, changed_days.mailbox_id, workspaces.counted_until, workspaces.count_until
    having min(changed_days.sent_date) <= least(workspaces.counted_until, workspaces.count_until)
),

{% else -%}
workspaces as (
    select
        workspace_id,
        null::date as counted_until,
        max(sent_date) + {{ days_ahead }} as count_until
    from mailbox_days
    group by workspace_id
),

{% endif -%}
-- days that are not: of all mailboxes
new_days as {{ 'not ' if is_distributed() }}materialized (
    select
        mailbox_days.*,
        workspaces.counted_until,
        workspaces.count_until
    from mailbox_days
    inner join workspaces using (workspace_id)
    where mailbox_days.sent_date > coalesce(workspaces.counted_until, '-infinity') - {{ days_back }}
),

counted_days as (
    select
        workspace_id,
        mailbox_id,
        true as is_new,
        sent_date,
        {{ counts | join(',\n        ') }},
        null::date as health_date
    from new_days
    union all
    -- the days to count, at which each sum below is read
    select
        workspace_id,
        mailbox_id,
        true as is_new,
        day::date as sent_date,
        {%- for count in counts %}
        0 as {{ count }},
        {%- endfor %}
        day::date as health_date
    from (
        select
            workspace_id,
            mailbox_id,
            greatest(min(sent_date), max(counted_until) + 1) as first_date,
            least(max(sent_date) + {{ days_back }}, max(count_until)) as last_date
        from new_days
        group by workspace_id, mailbox_id
    ) as mailboxes
    cross join generate_series(first_date::timestamp, last_date::timestamp, interval '1 day') as day
    {%- if is_incremental_run %}
    union all
    select
        workspace_id,
        mailbox_id,
        false as is_new,
        sent_date,
        {{ counts | join(',\n        ') }},
        null::date as health_date
    from changed_mailboxes
    inner join mailbox_days using (workspace_id, mailbox_id)
    where mailbox_days.sent_date between changed_mailboxes.first_date - {{ days_back }} and changed_mailboxes.last_date
    union all
    select
        workspace_id,
        mailbox_id,
        false as is_new,
        day::date as sent_date,
        {%- for count in counts %}
        0 as {{ count }},
        {%- endfor %}
        day::date as health_date
    from changed_mailboxes
    cross join generate_series(first_date::timestamp, last_date::timestamp, interval '1 day') as day
    {%- endif %}
),

running_totals as (
    select
        workspace_id,
        health_date,
        mailbox_id,
        {{ sums_of_health_windows() }}
    from counted_days
    -- days as numbers: frames of dates are of timestamps, which take longer
    window
        thirty_days as (
            partition by mailbox_id, workspace_id, is_new
            order by sent_date - date '2000-01-01' range between {{ days_back }} preceding and current row
        ),
        this_week as (
            partition by mailbox_id, workspace_id, is_new
            order by sent_date - date '2000-01-01' range between 6 preceding and current row
        ),
        week_before as (
            partition by mailbox_id, workspace_id, is_new
            order by sent_date - date '2000-01-01' range between 13 preceding and 7 preceding
        )
)

select
    workspace_id,
    health_date,
    mailbox_id,
    {%- for count in counts + ['sent_this_week', 'sent_week_before'] %}
    {{ count }}::int as {{ count }},
    {%- endfor %}
    {{ batch_id() }}::bigint as valid_from,
    {{ valid_to_or_tombstone('sent = 0') }} as valid_to
from running_totals
where health_date is not null {{ '' if is_incremental_run else 'and sent > 0' }}
{% if is_incremental_run -%}
union all
-- days after the last, if a workspace's last mail was removed
select
    this_rows.workspace_id,
    this_rows.health_date,
    this_rows.mailbox_id,
    {%- for count in counts + ['sent_this_week', 'sent_week_before'] %}
    0 as {{ count }},
    {%- endfor %}
    {{ batch_id() }}::bigint as valid_from,
    {{ batch_id() }}::bigint as valid_to
from {{ this }} as this_rows
inner join workspaces using (workspace_id)
where
    {{ is_current('this_rows') }}
    and this_rows.health_date > coalesce(workspaces.count_until, '-infinity')
    -- most builds have none, and do not look for them
    and workspaces.counted_until > coalesce(workspaces.count_until, '-infinity')
{%- else -%}
order by workspace_id, health_date, mailbox_id
{%- endif %}
