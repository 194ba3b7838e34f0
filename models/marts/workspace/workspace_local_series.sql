with windows as (
    select * from {{ ref('int_local_windows') }}
),

slots as (
    {{
        slots_with_outcomes(
            ref('fct_workspace_slots'), ref('fct_outcome_slots'), where=is_visible_slot_in_window(), of_all=true
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

-- First by slot, of which there are few: the date of each is computed once. By hashing, for which the constant is (rollup.sql).
slot_totals as (
    select
        windows.workspace_id,
        windows.timezone,
        windows.first_date,
        totals_of_slots.*
    from windows
    cross join
        lateral (
            select
                slots.slot_at,
                {{ summed_counts('slots', series_counts()) }}
            from slots
            where slots.workspace_id = windows.workspace_id
            group by slots.slot_at, '0'::xid
        ) as totals_of_slots
),

totals as (
    select
        workspace_id,
        greatest(date_trunc({{ request_group_by() }}, slot_at at time zone timezone)::date, first_date) as date,
        {{ summed_counts('slot_totals', series_counts()) }}
    from slot_totals
    group by workspace_id, date
)

{{ series_of_every_bucket('buckets', 'totals') }}
