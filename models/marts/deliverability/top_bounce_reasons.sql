{%- set most = 5 %}

with {{ requested_mailboxes() }},

bounce_days as not materialized (
    {{
        of_requested_campaign(
            'fct_bounce_days',
            ['workspace_id', 'mailbox_id', 'domain_id', 'bounce_reason', 'bounced'],
            is_in_window('sent_date'),
        )
    }}
),

-- before each mailbox's domain is looked up
of_mailboxes as (
    select
        workspace_id,
        mailbox_id,
        domain_id,
        bounce_reason,
        sum(bounced) as bounced
    from bounce_days
    group by workspace_id, mailbox_id, domain_id, bounce_reason
),

reasons as (
    select
        bounce_reason,
        label
    from {{ ref('dim_bounce_reasons') }} as dim_bounce_reasons
    where {{ is_visible_as_of('dim_bounce_reasons') }}
),

summed as (
    select
        of_mailboxes.workspace_id,
        -- a reason that was taken out of the seed is named by its code
        coalesce(reasons.label, of_mailboxes.bounce_reason) as reason,
        sum(of_mailboxes.bounced) as bounced
    from of_mailboxes
    left join mailboxes
        on
            of_mailboxes.workspace_id = mailboxes.workspace_id
            and of_mailboxes.mailbox_id = mailboxes.mailbox_id
    left join reasons on of_mailboxes.bounce_reason = reasons.bounce_reason
    where {{ is_of_requested_domain('of_mailboxes') }}
    group by of_mailboxes.workspace_id, coalesce(reasons.label, of_mailboxes.bounce_reason)
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
