{%- set cell = ['workspace_id', 'campaign_id', 'mailbox_id', 'domain_id', 'sent_date'] %}
{{
    config(
        unique_key=['workspace_id', 'campaign_id', 'mailbox_id', 'domain_id', 'sent_date'],
        indexes=[{'columns': ['workspace_id', 'campaign_id', 'sent_date']}],
    )
}}

{%- set adds = adds_to_what_is_there() %}

with sent_messages as not materialized (
    select * from {{ ref('fct_messages') }}
    where valid_to = {{ still_standing() }} and is_sent
),

{% if adds %}
changed_cells as materialized (
    {{ changed_keys(ref('fct_messages'), cell, 'is_sent') }}
),
{% endif %}

counted as (
    select
        workspace_id,
        campaign_id,
        mailbox_id,
        domain_id,
        sent_date,
        count(sent_messages.message_id)::int as sent,
        (count(*) filter (where sent_messages.is_delivered))::int as delivered,
        (count(*) filter (where sent_messages.is_bounced))::int as bounced,
        (count(*) filter (where sent_messages.is_opened))::int as opened,
        (count(*) filter (where sent_messages.is_clicked))::int as clicked,
        (count(*) filter (where sent_messages.is_replied))::int as replied,
        (count(*) filter (where sent_messages.is_complained))::int as complained,
        (count(*) filter (where sent_messages.is_unsubscribed))::int as unsubscribed,
        (count(*) filter (where sent_messages.is_human_opened))::int as human_opened,
        (count(*) filter (where sent_messages.is_human_clicked))::int as human_clicked
    {%- if adds %}
    from changed_cells
    left join sent_messages using ({{ cell | join(', ') }})
    {%- else %}
    from sent_messages
    {%- endif %}
    group by {{ cell | join(', ') }}
)

select
    *,
    {{ batch_id() }}::bigint as valid_from,
    {{ valid_to_unless('sent = 0') }} as valid_to
from counted
