{%- set counts = workspace_counts() + ['bounced'] %}

with campaigns as (
    select * from {{ ref('int_requested_campaigns') }}
),

windows as (
    select * from {{ ref('int_local_windows') }}
),

slots as (
    {{
        slots_with_outcomes(
            ref('fct_send_slots'), ref('fct_outcome_slots'), where=is_visible_slot_in_window()
        ) | indent
    }}
),

-- the date of a bucket is its first day in the window
buckets as (
    select distinct
        windows.workspace_id,
        greatest(date_trunc({{ request_group_by() }}, day)::date, windows.first_date) as date
    from windows
    cross join generate_series(windows.first_date::timestamp, windows.last_date::timestamp, interval '1 day') as day
),

-- lateral: the slots of one campaign come in their order, and need no sort. All zones' offsets are multiples of 15 minutes
totals as (
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        bucket_totals.*
    from campaigns
    inner join windows on campaigns.workspace_id = windows.workspace_id
    cross join
        lateral (
            select
                greatest(
                    date_trunc({{ request_group_by() }}, slots.slot_at at time zone windows.timezone)::date, windows.first_date
                ) as date,
                {{ summed_counts('slots', counts + ['complained']) }}
            from slots
            where
                slots.workspace_id = campaigns.workspace_id
                and slots.campaign_id = campaigns.campaign_id
            group by date
        ) as bucket_totals
)

-- complete: a bucket without mail has a row of zeros
select
    workspace_id,
    campaign_id,
    date,
    {{ counts_or_zero('totals', counts) }},
    coalesce(totals.complained, 0) as spam_complaints
from campaigns
inner join buckets using (workspace_id)
left join totals using (workspace_id, campaign_id, date)
order by workspace_id, campaign_id, date
