{%- set grain = ['workspace_id', 'hour_at'] %}

{{ config(unique_key=grain, indexes=[{'columns': grain}]) }}

-- what a heatmap of all campaigns reads in most time zones: a quarter of the rows of fct_workspace_slots
{{
    incremental_rollup(
        grain,
        measures={
            'slots': {'count_if': 'true'},
            'sent': {'sum': 'sent', 'data_type': 'integer'},
            'opened': {'sum': 'opened', 'data_type': 'integer'},
            'clicked': {'sum': 'clicked', 'data_type': 'integer'},
            'replied': {'sum': 'replied', 'data_type': 'integer'},
        },
        cluster_by=grain,
        where='true',
        expressions={'hour_at': "date_bin('1 hour', slot_at, timestamptz '2000-01-01 00:00:00+00')"},
        fact='fct_workspace_slots',
    )
}}
