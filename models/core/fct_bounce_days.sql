{%- set grain = ['workspace_id', 'campaign_id', 'mailbox_id', 'domain_id', 'sent_date', 'bounce_reason'] %}

{{
    config(
        unique_key=grain,
        indexes=[
            {'columns': ['workspace_id', 'campaign_id', 'sent_date']},
            {'columns': ['workspace_id', 'sent_date']},
        ],
    )
}}

{{
    incremental_rollup(
        grain,
        measures={'bounced': {'count_if': 'true'}},
        cluster_by=['workspace_id', 'sent_date', 'campaign_id'],
        where='is_bounced',
    )
}}
