{%- set grain = ['workspace_id', 'sent_date', 'campaign_id', 'recipient_domain', 'recipient_provider'] %}

{{
    config(
        unique_key=grain,
        indexes=[
            {'columns': ['workspace_id', 'sent_date']},
            {'columns': ['workspace_id', 'campaign_id', 'sent_date']},
            {'columns': ['workspace_id', 'recipient_domain']},
        ],
    )
}}

{#- mail to companies has nearly a row for each message, so a row has no counts that nobody splits by domain -#}
{%- set measures = {} %}
{%- for count, measure in message_measures().items() if count not in ['opens_and_clicks', 'classified_opens_and_clicks'] %}
{%- do measures.update({count: measure}) %}
{%- endfor %}
{%- do measures.update({'deferred': {'count_if': 'first_deferred_at is not null'}}) %}

-- '' in a message that was built before it had a provider
{{
    incremental_rollup(
        grain,
        measures=measures,
        cluster_by=grain,
        expressions={
            'recipient_domain': bare_domain('recipient_domain'),
            'recipient_provider': "coalesce(recipient_provider, '')",
        },
    )
}}
