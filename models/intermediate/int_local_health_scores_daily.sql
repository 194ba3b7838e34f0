{#-
    The local dates of the window and of 30 days before it begin within two days of those in UTC, which are a range of the index.
    `offset 0`: a local date takes longer than all else of a row, and is computed once. Grouped by hashing, for which the constant
    is (rollup.sql). A row of this is of visible versions alone, and so is visible.
-#}
{%- set mailbox_days -%}
(
    select
        dated_slots.workspace_id,
        dated_slots.mailbox_id,
        dated_slots.domain_id,
        dated_slots.sent_date,
        sum(dated_slots.sent)::int as sent,
        sum(dated_slots.delivered)::int as delivered,
        sum(dated_slots.hard_bounced)::int as hard_bounced,
        sum(dated_slots.complained)::int as complained,
        sum(dated_slots.unsubscribed)::int as unsubscribed,
        0::bigint as valid_from,
        {{ open_ended() }} as valid_to
    from (
        select
            slots.workspace_id,
            slots.mailbox_id,
            slots.domain_id,
            (slots.slot_at at time zone windows.timezone)::date as sent_date,
            slots.sent,
            slots.delivered,
            slots.hard_bounced,
            slots.complained,
            slots.unsubscribed
        from {{ ref('fct_mailbox_slots') }} as slots
        inner join {{ ref('int_local_windows') }} as windows on slots.workspace_id = windows.workspace_id
        where
            {{ is_visible_as_of('slots') }}
            and slots.slot_at >= ({{ request_range_start() }} - 31)::timestamp at time zone 'UTC'
            and slots.slot_at < ({{ request_range_end() }} + 3)::timestamp at time zone 'UTC'
        offset 0
    ) as dated_slots
    group by
        dated_slots.workspace_id, dated_slots.mailbox_id, dated_slots.domain_id, dated_slots.sent_date, '0'::xid
)
{%- endset -%}

{{
    health_scores(
        campaign_days=ref('fct_campaign_days'),
        mailbox_days=mailbox_days,
        mailboxes=ref('int_requested_mailboxes'),
        factors=ref('dim_health_score_factors'),
        first_day=request_range_start(),
    )
}}
