{%- set most = 5 %}

with {{ requested_workspaces() }},

{{ requested_campaigns_and_none() }},

{{ requested_mailboxes() }},

bounce_days as not materialized (
    select
        workspace_id,
        campaign_id,
        mailbox_id,
        domain_id,
        bounce_reason,
        bounced
    from {{ ref('fct_bounce_days') }} as fct_bounce_days
    where
        {{ is_true_for_request('fct_bounce_days') }}
        and sent_date between {{ request_range_start() }} and {{ request_range_end() }}
),

reasons as (
    select
        bounce_reason,
        label
    from {{ ref('dim_bounce_reasons') }} as dim_bounce_reasons
    where {{ is_true_for_request('dim_bounce_reasons') }}
),

summed as (
    select
        bounce_days.workspace_id,
        -- a reason that was taken out of the seed is named by its code
        coalesce(reasons.label, bounce_days.bounce_reason) as reason,
        sum(bounce_days.bounced) as bounced
    from campaigns_and_none
    inner join bounce_days
        on
            campaigns_and_none.workspace_id = bounce_days.workspace_id
            and campaigns_and_none.campaign_id = bounce_days.campaign_id
    left join mailboxes
        on
            bounce_days.workspace_id = mailboxes.workspace_id
            and bounce_days.mailbox_id = mailboxes.mailbox_id
    left join reasons on bounce_days.bounce_reason = reasons.bounce_reason
    where {{ is_of_requested_domain('bounce_days') }}
    group by bounce_days.workspace_id, coalesce(reasons.label, bounce_days.bounce_reason)
),

ranked as (
    select
        workspace_id,
        reason,
        bounced,
        sum(bounced) over (partition by workspace_id) as all_bounced,
        row_number() over (partition by workspace_id order by bounced desc, reason collate "C") as place
    from summed
)

select
    workspace_id,
    place,
    reason,
    bounced::bigint as count,
    round(100.0 * bounced / all_bounced, 1)::numeric(4, 1) as percentage
from ranked
where place <= {{ most }}
order by workspace_id, place
