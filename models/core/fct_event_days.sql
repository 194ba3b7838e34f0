{%- set grain = ['workspace_id', 'provider', 'event_type', 'event_date'] %}

{{
    config(
        unique_key=grain,
        indexes=[{'columns': ['workspace_id', 'event_date']}],
    )
}}

-- Which events come at all, by the time of the event and not of its message. An unknown type counts nowhere, and there can be as
-- many of them as events.
{{
    incremental_rollup(
        grain,
        measures={
            'events': {'count_if': 'true'},
            'last_occurred_at': {'max': 'occurred_at'},
            'last_loaded_at': {'max': 'loaded_at'},
        },
        cluster_by=['workspace_id', 'event_date', 'provider', 'event_type'],
        where='event_type in (' ~ known_event_types() ~ ')',
        expressions={
            'provider': "coalesce(provider, '')",
            'event_date': "(occurred_at at time zone 'UTC')::date",
        },
        fact='fct_email_events',
    )
}}
