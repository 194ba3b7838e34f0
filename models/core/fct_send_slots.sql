{%- set cell = ['workspace_id', 'campaign_id', 'slot_at'] %}

{{
    config(
        unique_key=cell,
        indexes=[{'columns': ['workspace_id', 'slot_at']}],
    )
}}

{{
    incremental_rollup(
        cell,
        [
            ['sent', 'true'],
            ['delivered', 'is_delivered'],
            ['opened', 'is_opened'],
            ['clicked', 'is_clicked'],
            ['replied', 'is_replied'],
        ],
        along='slot_at',
        expressions={'slot_at': "date_bin('15 minutes', sent_at, timestamptz '2000-01-01 00:00:00+00')"},
    )
}}
