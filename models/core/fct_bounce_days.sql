{%- set cell = ['workspace_id', 'campaign_id', 'mailbox_id', 'domain_id', 'sent_date', 'bounce_reason'] %}

{{
    config(
        unique_key=cell,
        indexes=[
            {'columns': ['workspace_id', 'campaign_id', 'sent_date']},
            {'columns': ['workspace_id', 'sent_date']},
        ],
    )
}}

{{ incremental_rollup(cell, [['bounced', 'true']], along='sent_date', condition='is_bounced') }}
