{%- set grain = ['workspace_id', 'campaign_id', 'slot_at'] %}

{{
    config(
        unique_key=grain,
        indexes=[
            {'columns': ['workspace_id', 'campaign_id', 'slot_at']},
            {'columns': ['workspace_id', 'slot_at']},
        ],
    )
}}

{{
    incremental_rollup(
        grain,
        measures={
            'sent': {'count_if': 'true'},
            'delivered': {'count_if': 'is_delivered'},
            'opened': {'count_if': 'is_opened'},
            'clicked': {'count_if': 'is_clicked'},
            'replied': {'count_if': 'is_replied'},
        },
        cluster_by=['workspace_id', 'slot_at', 'campaign_id'],
        expressions={'slot_at': slot_of_sending()},
    )
}}
