{%- set grain = ['workspace_id', 'campaign_id', 'mailbox_id', 'domain_id', 'sent_date'] %}

{{
    config(
        unique_key=grain,
        indexes=[
            {'columns': ['workspace_id', 'campaign_id', 'sent_date']},
            {'columns': ['workspace_id', 'sent_date']},
        ],
    )
}}

{{
    incremental_rollup(
        grain,
        measures={
            'sent': {'count_if': 'true'},
            'delivered': {'count_if': 'is_delivered'},
            'bounced': {'count_if': 'is_bounced'},
            'hard_bounced': {'count_if': 'is_hard_bounced'},
            'opened': {'count_if': 'is_opened'},
            'clicked': {'count_if': 'is_clicked'},
            'replied': {'count_if': 'is_replied'},
            'complained': {'count_if': 'is_complained'},
            'unsubscribed': {'count_if': 'is_unsubscribed'},
            'human_opened': {'count_if': 'is_human_opened'},
            'human_clicked': {'count_if': 'is_human_clicked'},
            'opens_and_clicks': {'sum': 'opens_and_clicks', 'data_type': 'integer'},
            'classified_opens_and_clicks': {'sum': 'classified_opens_and_clicks', 'data_type': 'integer'},
        },
        cluster_by=['workspace_id', 'sent_date', 'campaign_id'],
    )
}}
