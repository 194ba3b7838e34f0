{%- set grain = ['workspace_id', 'campaign_id', 'delay', 'bucket', 'sent_date'] %}

{#- in the order of the table: the index of the most rows that any rollup has is made without a sort #}
{%- set key = ['workspace_id', 'sent_date', 'campaign_id', 'delay', 'bucket'] %}

{{
    config(
        unique_key=key,
        indexes=[{'columns': ['workspace_id', 'campaign_id', 'sent_date']}],
    )
}}

{{
    incremental_rollup(
        grain,
        measures={'messages': {'count_if': 'true'}},
        cluster_by=key,
        where='is_delivered and is_sent and elapsed is not null',
        expressions={'bucket': delay_bucket('elapsed')},
        fan_out=delays_of_message(),
    )
}}
