{#
    Old events of core can be in blocks (app.compressed_events, api/builds/compression.py). A model sees the events of the table, so a
    build takes those out of the blocks that its models look for, before they do. A warehouse without blocks pays one query a build, and
    its SQL is the same.
#}

{# Whether there were blocks of this warehouse when the build began; nothing is compressed while it runs. False outside of a build. #}
{% macro has_compressed_events() -%}
    {%- if not is_recorded_build() or model.resource_type == 'unit_test' -%} {{ return(false) }} {%- endif -%}
    {{ return(kept('has_compressed_events') or false) }}
{%- endmacro %}


{# on-run-start: what has_compressed_events() returns. #}
{% macro read_has_compressed_events() -%}
    {{ return(run_query(
        'select exists (select from app.compressed_events where target = ' ~ sql_literal(warehouse_name()) ~ ')'
    ).rows[0][0]) }}
{%- endmacro %}


{#
    Pre-hook of every versioned model, in its transaction. Whoever computes something from all events gets all of them. The others get
    those of the messages that they look for: fct_email_events, those of the events that it reads; fct_messages, those whose provider
    has changed.
#}
{% macro take_out_events() -%}
    {%- if not has_compressed_events() -%} {{ return('') }} {%- endif -%}
    {%- set events = graph.nodes.get('model.' ~ project_name ~ '.fct_email_events') -%}
    {%- if not events or events.unique_id not in [model.unique_id] + model.depends_on.nodes -%} {{ return('') }} {%- endif -%}
    {%- set is_of_events = events.unique_id == model.unique_id -%}
    {%- if is_of_events and not is_incremental() -%}
    {#- the table is made anew, from the raw logs -#}
    delete from app.compressed_events where target = {{ sql_literal(warehouse_name()) }}
    {%- elif is_of_events and not var('recompute') and not reads_everything() -%}
    create temporary table newly_loaded_events on commit drop as
    {{ newly_loaded_events() }};
    {{ take_out_messages(events, 'select workspace_id, message_id from pg_temp.newly_loaded_events') }}
    {%- elif is_of_events or not is_incremental_run() or (model.name == 'fct_messages' and is_empty()) -%}
    {{ take_out_messages(events, none) }}
    {%- elif model.name == 'fct_messages' and has_changed_rows(ref('dim_recipient_providers')) -%}
    {{ take_out_messages(events, messages_of_changed_providers(ref('dim_recipient_providers'))) }}
    {%- endif -%}
{%- endmacro %}


{# Calls app.take_out_events(). `messages`: a query with workspace_id and message_id; none: all of the warehouse. #}
{% macro take_out_messages(events, messages) -%}
    select app.take_out_events(
        {{ sql_literal(warehouse_name()) }},
        to_regclass({{ sql_literal(events.relation_name) }}),
        {{ sql_literal(messages) if messages else 'null' }}
    )
{%- endmacro %}


{# The rows that fct_email_events reads in this build. It reads them from the temporary table, so bodies are parsed once. #}
{% macro newly_loaded_events() -%}
    {%- set providers = newly_loaded_providers() -%}
    {%- for source, condition in sources_of_events(providers).items() %}
    select * from {{ loaded_events_of(ref('int_loaded_events'), source, providers) }}
    where {{ condition }} and {{ is_newly_loaded() }}
    {{- ' union all' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{# Whether the pre-hook of fct_email_events has made that table. #}
{% macro has_table_of_new_events() -%}
    {{ return(has_compressed_events() and is_incremental_run() and not reads_everything()) }}
{%- endmacro %}


{# The known messages of this model, fct_messages, whose recipients' domain has another provider since its last run. #}
{% macro messages_of_changed_providers(providers) -%}
select
    known_messages.workspace_id,
    known_messages.message_id
from {{ this }} as known_messages
where
    {{ is_current('known_messages') }}
    -- not one that was built before messages had a provider: it would be a backfill, and takes as long
    and known_messages.recipient_provider is not null
    and known_messages.recipient_domain in (
        {{ changed_keys(providers, ['domain']) }}
    )
    {%- if has_removed_rows('fct_email_events') %}
    and {{ is_not_closed('known_messages', in_core=true) }}
    {%- endif %}
{%- endmacro %}
