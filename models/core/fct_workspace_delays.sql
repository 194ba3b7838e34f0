{%- set grain = ['workspace_id', 'delay', 'bucket', 'sent_date'] %}

{{ config(unique_key=grain, indexes=[{'columns': ['workspace_id', 'sent_date']}]) }}

-- what is read of delays if the request names no campaign
{{
    incremental_rollup(
        grain,
        measures={
            'campaigns': {'count_if': 'true'},
            'messages': {'sum': 'messages', 'data_type': 'integer'},
        },
        cluster_by=['workspace_id', 'sent_date'],
        where='true',
        fact='fct_delay_days',
    )
}}
