{%- set grain = ['workspace_id', 'campaign_id', 'recipient_provider', 'sent_date'] %}

{{
    config(
        unique_key=grain,
        indexes=[
            {'columns': ['workspace_id', 'campaign_id', 'sent_date']},
            {'columns': ['workspace_id', 'sent_date']},
        ],
    )
}}

{%- set measures = message_measures() %}
{%- do measures.update({'deferred': {'count_if': 'first_deferred_at is not null'}}) %}

-- '' in a message that was built before it had a provider
{{
    incremental_rollup(
        grain,
        measures=measures,
        cluster_by=['workspace_id', 'sent_date', 'campaign_id'],
        expressions={'recipient_provider': "coalesce(recipient_provider, '')"},
    )
}}
