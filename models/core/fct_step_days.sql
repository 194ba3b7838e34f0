{%- set grain = ['workspace_id', 'campaign_id', 'sequence_id', 'step', 'variant', 'sent_date'] %}

{{
    config(
        unique_key=grain,
        indexes=[
            {'columns': ['workspace_id', 'campaign_id', 'sent_date']},
            {'columns': ['workspace_id', 'sent_date']},
        ],
    )
}}

-- Without addresses: an erasure of a recipient replaces them in the messages, and a message must leave the row that it is in.
{{
    incremental_rollup(
        grain,
        measures=message_measures(),
        cluster_by=['workspace_id', 'sent_date', 'campaign_id'],
        expressions={
            'sequence_id': label_without_address('sequence_id'),
            'step': label_without_address('step'),
            'variant': label_without_address('variant'),
        },
    )
}}
