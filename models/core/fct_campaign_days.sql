{%- set cell = ['workspace_id', 'campaign_id', 'mailbox_id', 'domain_id', 'sent_date'] %}

{{
    config(
        unique_key=cell,
        indexes=[
            {'columns': ['workspace_id', 'campaign_id', 'sent_date']},
            {'columns': ['workspace_id', 'sent_date']},
        ],
    )
}}

{{
    incremental_rollup(cell, along='sent_date', counts=[
        ['sent', 'true'],
        ['delivered', 'is_delivered'],
        ['bounced', 'is_bounced'],
        ['hard_bounced', 'is_hard_bounced'],
        ['opened', 'is_opened'],
        ['clicked', 'is_clicked'],
        ['replied', 'is_replied'],
        ['complained', 'is_complained'],
        ['unsubscribed', 'is_unsubscribed'],
        ['human_opened', 'is_human_opened'],
        ['human_clicked', 'is_human_clicked'],
    ])
}}
