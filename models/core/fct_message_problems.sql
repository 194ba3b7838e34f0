{%- set grain = ['workspace_id', 'provider'] %}
{%- set is_engaged = 'coalesce(first_opened_at, first_replied_at, first_complained_at, first_unsubscribed_at) is not null' %}

{{ config(unique_key=grain) }}

-- whole messages whose events are not in the numbers, or not as somebody may think
{{
    incremental_rollup(
        grain,
        measures={
            'messages': {'count_if': 'true'},
            'engagement_without_delivery': {'count_if': 'not is_delivered and ' ~ is_engaged},
            'message_id_with_several_recipients': {'count_if': 'has_several_recipients'},
        },
        cluster_by=grain,
        where='(has_several_recipients or not is_delivered and ' ~ is_engaged ~ ')',
        expressions={'provider': "coalesce(provider, '')"},
    )
}}
