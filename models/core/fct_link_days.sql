{%- set grain = ['workspace_id', 'campaign_id', 'link', 'sent_date'] %}

{{
    config(
        unique_key=grain,
        indexes=[
            {'columns': ['workspace_id', 'campaign_id', 'sent_date']},
            {'columns': ['workspace_id', 'sent_date']},
        ],
    )
}}

-- a message is counted once for each of its links, on the day on which it was sent: so days add up
{{
    incremental_rollup(
        grain,
        measures={
            'messages_clicked': {'count_if': 'true'},
            'human_messages_clicked': {'count_if': '(counts ->> 1)::int > 0'},
            'clicks': {'sum': '(counts ->> 0)::int', 'data_type': 'integer'},
            'human_clicks': {'sum': '(counts ->> 1)::int', 'data_type': 'integer'},
        },
        cluster_by=['workspace_id', 'sent_date', 'campaign_id'],
        where='clicked_links is not null',
        fan_out='jsonb_each(clicked_links) as clicked (link, counts)',
    )
}}
