{%- set grain = ['workspace_id', 'campaign_id', 'delay', 'bucket', 'sent_date'] %}

{{
    config(
        unique_key=grain,
        indexes=[{'columns': ['workspace_id', 'campaign_id', 'sent_date']}],
    )
}}

{{
    incremental_rollup(
        grain,
        measures={'messages': {'count_if': 'true'}},
        cluster_by=['workspace_id', 'sent_date', 'campaign_id'],
        where='is_delivered and is_sent and passed is not null',
        expressions={'bucket': delay_bucket('passed')},
        fan_out=delays_of_message(),
    )
}}
