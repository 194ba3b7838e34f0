{%- set grain = ['workspace_id', 'recipient_provider', 'sent_date'] %}

{{ config(unique_key=grain, indexes=[{'columns': ['workspace_id', 'sent_date']}]) }}

-- what is read of providers if the request names no campaign
{{
    incremental_rollup(
        grain,
        measures={
            'campaigns': {'count_if': 'true'},
            'sent': {'sum': 'sent', 'data_type': 'integer'},
            'delivered': {'sum': 'delivered', 'data_type': 'integer'},
            'deferred': {'sum': 'deferred', 'data_type': 'integer'},
            'bounced': {'sum': 'bounced', 'data_type': 'integer'},
            'hard_bounced': {'sum': 'hard_bounced', 'data_type': 'integer'},
            'opened': {'sum': 'opened', 'data_type': 'integer'},
            'clicked': {'sum': 'clicked', 'data_type': 'integer'},
            'replied': {'sum': 'replied', 'data_type': 'integer'},
            'complained': {'sum': 'complained', 'data_type': 'integer'},
            'unsubscribed': {'sum': 'unsubscribed', 'data_type': 'integer'},
        },
        cluster_by=['workspace_id', 'sent_date'],
        where='true',
        fact='fct_provider_days',
    )
}}
