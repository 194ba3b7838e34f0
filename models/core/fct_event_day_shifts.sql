{%- set grain = ['workspace_id', 'campaign_id', 'mailbox_id', 'domain_id', 'event_date'] %}
{%- set measures = {'messages': {'count_if': 'true'}} %}
{%- for count, time in [
    ('delivered', 'first_delivered_at'),
    ('bounced', 'first_bounced_at'),
    ('hard_bounced', 'first_bounced_at'),
    ('opened', 'first_opened_at'),
    ('clicked', 'first_clicked_at'),
    ('replied', 'first_replied_at'),
    ('complained', 'first_complained_at'),
    ('unsubscribed', 'first_unsubscribed_at'),
    ('human_opened', 'coalesce(first_human_opened_at, first_opened_at)'),
    ('human_clicked', 'coalesce(first_human_clicked_at, first_clicked_at)'),
] %}
{%- do measures.update({count: {'sum': shift_of_count(count, time), 'data_type': 'integer'}}) %}
{%- endfor %}

{{
    config(
        unique_key=grain,
        indexes=[
            {'columns': ['workspace_id', 'campaign_id', 'event_date']},
            {'columns': ['workspace_id', 'event_date']},
        ],
    )
}}

-- only messages that count on another day than that of sending: what the others count is in fct_campaign_days
{{
    incremental_rollup(
        grain,
        measures=measures,
        cluster_by=['workspace_id', 'event_date', 'campaign_id'],
        where='is_sent and ' ~ counts_on_another_day(),
        fan_out=event_dates_of_message(),
    )
}}
