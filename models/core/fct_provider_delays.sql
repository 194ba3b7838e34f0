{%- set grain = ['workspace_id', 'recipient_provider', 'bucket', 'sent_date'] %}

{{ config(unique_key=grain, indexes=[{'columns': ['workspace_id', 'sent_date']}]) }}

-- from sending to delivery alone, which is what a provider decides
{{
    incremental_rollup(
        grain,
        measures={'messages': {'count_if': 'true'}},
        cluster_by=['workspace_id', 'sent_date'],
        where='is_delivered and is_sent',
        expressions={
            'recipient_provider': "coalesce(recipient_provider, '')",
            'bucket': delay_bucket('first_delivered_at - sent_at'),
        },
    )
}}
