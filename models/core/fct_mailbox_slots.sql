{%- set grain = ['workspace_id', 'slot_at', 'mailbox_id', 'domain_id'] %}

{{ config(unique_key=grain, indexes=[{'columns': ['workspace_id', 'slot_at']}]) }}

-- fct_mailbox_days by the quarter of an hour, from which come the days of any time zone
{{
    incremental_rollup(
        grain,
        measures={
            'sent': {'count_if': 'true'},
            'delivered': {'count_if': 'is_delivered'},
            'bounced': {'count_if': 'is_bounced'},
            'hard_bounced': {'count_if': 'is_hard_bounced'},
            'complained': {'count_if': 'is_complained'},
            'unsubscribed': {'count_if': 'is_unsubscribed'},
        },
        cluster_by=grain,
        expressions={'slot_at': slot_of_sending()},
    )
}}
