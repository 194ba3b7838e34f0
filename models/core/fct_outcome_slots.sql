{%- set grain = ['workspace_id', 'campaign_id', 'slot_at', 'bounce_reason'] %}

{{
    config(
        unique_key=grain,
        indexes=[
            {'columns': ['workspace_id', 'campaign_id', 'slot_at']},
            {'columns': ['workspace_id', 'slot_at']},
        ],
    )
}}

-- Few messages have one of these outcomes. So this has fewer rows than fct_send_slots, and is complete after the first build: a
-- new measure of a fact is unknown in its old rows.
{{
    incremental_rollup(
        grain,
        measures={
            'messages': {'count_if': 'true'},
            'bounced': {'count_if': 'is_bounced'},
            'hard_bounced': {'count_if': 'is_hard_bounced'},
            'undelivered': {'count_if': 'not is_delivered and not is_bounced'},
            'complained': {'count_if': 'is_complained'},
            'unsubscribed': {'count_if': 'is_unsubscribed'},
            'machine_opened': {'count_if': is_by_machines('opened')},
            'machine_clicked': {'count_if': is_by_machines('clicked')},
        },
        cluster_by=['workspace_id', 'slot_at', 'campaign_id'],
        where='is_sent and (not is_delivered or is_complained or is_unsubscribed or '
        ~ is_by_machines('opened') ~ ' or ' ~ is_by_machines('clicked') ~ ')',
        expressions={'slot_at': slot_of_sending()},
    )
}}
