{%- set grain = ['workspace_id', 'mailbox_id', 'domain_id', 'sent_date'] %}

{{ config(unique_key=grain, indexes=[{'columns': ['workspace_id', 'sent_date']}]) }}

-- what health scores and the deliverability of all campaigns read: a mailbox sends for many campaigns
{{
    incremental_rollup(
        grain,
        measures={
            'campaigns': {'count_if': 'true'},
            'sent': {'sum': 'sent', 'data_type': 'integer'},
            'delivered': {'sum': 'delivered', 'data_type': 'integer'},
            'bounced': {'sum': 'bounced', 'data_type': 'integer'},
            'hard_bounced': {'sum': 'hard_bounced', 'data_type': 'integer'},
            'complained': {'sum': 'complained', 'data_type': 'integer'},
            'unsubscribed': {'sum': 'unsubscribed', 'data_type': 'integer'},
        },
        cluster_by=['workspace_id', 'sent_date'],
        where='true',
        fact='fct_campaign_days',
    )
}}
