{%- set grain = ['workspace_id', 'slot_at'] %}

{{ config(unique_key=grain, indexes=[{'columns': grain}]) }}

-- what a heatmap of all campaigns reads: as many rows as there are slots, however many campaigns send in them
{{
    incremental_rollup(
        grain,
        measures={
            'campaigns': {'count_if': 'true'},
            'sent': {'sum': 'sent', 'data_type': 'integer'},
            'opened': {'sum': 'opened', 'data_type': 'integer'},
            'clicked': {'sum': 'clicked', 'data_type': 'integer'},
            'replied': {'sum': 'replied', 'data_type': 'integer'},
        },
        cluster_by=grain,
        where='true',
        fact='fct_send_slots',
    )
}}
