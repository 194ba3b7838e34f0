with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

mailboxes as (
    select * from {{ ref('int_requested_mailboxes') }}
),

health_scores as (
    select * from {{ ref('int_health_scores_last_day') }}
),

previous_health_scores as (
    select * from {{ ref('int_health_scores_previous_last_day') }}
),

{% for days, condition in [
    ('mailbox_days', is_in_window('sent_date')),
    ('previous_mailbox_days', 'sent_date between ' ~ request_previous_start() ~ ' and ' ~ request_previous_end()),
] -%}
{{ days }} as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_campaign_days'),
            columns=['workspace_id', 'mailbox_id', 'domain_id', 'sent', 'bounced', 'hard_bounced', 'complained'],
            where=condition,
            of_all=ref('fct_mailbox_days'),
            of_workspace=ref('fct_workspace_days'),
        )
    }}
),

{% endfor -%}
totals as (
    {%- for days, scores, is_previous in [
        ('mailbox_days', 'health_scores', 'false'),
        ('previous_mailbox_days', 'previous_health_scores', 'true'),
    ] %}
    select
        workspaces.workspace_id,
        {{ is_previous }} as is_previous,
        {{ scores }}.score as health_score,
        workspace_totals.*
    from workspaces
    cross join
        lateral (
            select {{ summed_counts(days, ['sent', 'bounced', 'hard_bounced', 'complained']) }}
            from {{ days }}
            where {{ days }}.workspace_id = workspaces.workspace_id and {{ is_requested_domain(days) }}
        ) as workspace_totals
    left join {{ scores }} on workspaces.workspace_id = {{ scores }}.workspace_id
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
)

select
    workspace_id,
    is_previous,
    health_score,
    {{ rate('estimated_inbox_placement_rate') }} as estimated_inbox_placement_rate,
    {{ rate('spam_rate') }} as spam_rate,
    {{ rate('bounce_rate') }} as bounce_rate,
    hard_bounced as hard_bounces,
    (bounced - hard_bounced) as soft_bounces,
    {{ rate('hard_bounce_rate') }} as hard_bounce_rate,
    {{ rate('soft_bounce_rate') }} as soft_bounce_rate
from totals
