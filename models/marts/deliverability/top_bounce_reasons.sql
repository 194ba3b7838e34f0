{%- set max_reasons = 5 %}

with mailboxes as (
    select * from {{ ref('int_requested_mailboxes') }}
),

reasons as (
    select
        bounce_reason,
        label
    from {{ ref('dim_bounce_reasons') }} as dim_bounce_reasons
    where {{ is_visible_as_of('dim_bounce_reasons', has_workspace=false) }}
),

bounce_days as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_bounce_days'),
            columns=['workspace_id', 'mailbox_id', 'domain_id', 'bounce_reason', 'bounced'],
            where=is_in_window('sent_date'),
        )
    }}
),

-- Added up before the labels are looked up: fewer rows to join. By hashing, for which the constant is (rollup.sql).
totals as (
    select
        workspace_id,
        bounce_reason,
        sum(bounced) as bounced
    from bounce_days
    where {{ is_requested_domain('bounce_days') }}
    group by workspace_id, bounce_reason, '0'::xid
),

reason_totals as (
    select
        totals.workspace_id,
        -- a reason that was removed from the seed has no label: its code is shown
        coalesce(reasons.label, totals.bounce_reason) as reason,
        sum(totals.bounced) as bounced
    from totals
    left join reasons on totals.bounce_reason = reasons.bounce_reason
    group by totals.workspace_id, coalesce(reasons.label, totals.bounce_reason)
),

ranked as (
    select
        workspace_id,
        reason,
        bounced,
        sum(bounced) over (partition by workspace_id) as all_bounced,
        row_number() over (partition by workspace_id order by bounced desc, reason collate "C") as place
    from reason_totals
)

select
    workspace_id,
    place,
    reason,
    bounced::bigint as count,
    round(100.0 * bounced / all_bounced, 1)::numeric(4, 1) as percentage
from ranked
where place <= {{ max_reasons }}
order by workspace_id, place
