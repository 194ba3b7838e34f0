{#
    What a build must know of retention (api/builds/retention.py), which removes raw rows, events and messages that a publication has
    counted. Rollups keep the counts.
#}

{# Whether retention has ever removed rows of this warehouse's table. #}
{% macro has_removed_rows(table) -%}
    {%- if not execute -%} {{ return(false) }} {%- endif -%}
    {{ return(run_query(
        "select exists (select from app.retention where target = '" ~ warehouse_name() ~ "' and relation = '" ~ table
        ~ "' and total_rows_removed > 0)"
    ).rows[0][0]) }}
{%- endmacro %}


{# Whether this build computes a rollup again although retention has removed rows of the fact that it counts. #}
{% macro recounts_with_removed_rows(fact) -%}
    {{ return(var('recompute') and is_incremental() and has_removed_rows(fact)) }}
{%- endmacro %}


{# The closed message of each row of `of`, if its message was closed: for a join on true. Looked up by key, like lateral_lookup(). #}
{% macro closed_message(of) -%}
    lateral (
        select
            closed_messages.message_key,
            closed_messages.counted_until
        from app.closed_messages
        where
            closed_messages.workspace_id = {{ of }}.workspace_id
            and closed_messages.message_key = app.message_key({{ sql_literal(warehouse_name()) }}, {{ of }}.message_id)
        offset 0
    )
{%- endmacro %}


{#
    A recompute_scope: the existing events that a recomputation would find in the raw logs. Older ones were removed there, by
    retention or by hand, and stay as they are. The two logs are kept for different times.
#}
{% macro is_in_raw_logs() -%}
    existing.loaded_at >= case
        when existing.provider = 'native'
            then greatest(
                coalesce((select min(incoming.loaded_at) from incoming where incoming.provider = 'native'), 'infinity'),
                (select app.removed_until('email_events'))
            )
        else
            greatest(
                coalesce((select min(incoming.loaded_at) from incoming where incoming.provider <> 'native'), 'infinity'),
                (select app.removed_until('webhook_payloads'))
            )
    end
{%- endmacro %}


{#
    A recompute_scope: the rejected events of a time of which no log has lost a row. Not those of closed messages: a recomputation
    cannot distinguish all of them from events that were counted.
#}
{% macro is_in_every_raw_log() -%}
    existing.problem <> 'message_not_retained'
    and existing.loaded_at >= greatest(
        coalesce((select min(incoming.loaded_at) from incoming), 'infinity'),
        (select app.removed_until('email_events')),
        (select app.removed_until('webhook_payloads')),
        (select app.removed_until('rejected_payloads'))
    )
{%- endmacro %}


{#
    The condition that the message of a row is not closed. As a recompute_scope: the others have no event any more, which is no reason
    to delete them. `in_core`: of rows of core.
#}
{% macro is_not_closed(alias, in_core=false) -%}
    {%- if in_core and is_distributed() -%}
    {{ is_not_closed_on_nodes(alias) }}
    {%- else -%}
    (
        select closed_messages.message_key from app.closed_messages
        where
            closed_messages.workspace_id = {{ alias }}.workspace_id
            and closed_messages.message_key = app.message_key({{ sql_literal(warehouse_name()) }}, {{ alias }}.message_id)
    ) is null
    {%- endif -%}
{%- endmacro %}
