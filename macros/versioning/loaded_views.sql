{#
    Which views of staging a build reads. PostgreSQL plans the views of all providers for each CTE that reads int_loaded_events, which
    takes it longer than to read the new events of a nightly run. Most warehouses have webhooks of one provider, or of none.
#}

{#
    The providers of whose webhooks there are rows that are new to this model; none if all views are to be read: outside of a build, and
    in a unit test. Exact, by the condition by which the model chooses its rows: a view that is left out would return no row.
#}
{% macro newly_loaded_providers() -%}
    {%- if not is_recorded_build() or model.resource_type == 'unit_test' -%} {{ return(none) }} {%- endif -%}
    {%- set found = run_query(
        'select provider from raw.webhook_payloads where ' ~ is_newly_loaded() ~ ' group by provider'
    ).columns[0].values() | list -%}
    {{ return(webhook_formats() | select('in', found) | list) }}
{%- endmacro %}


{# native, and webhook if there can be new events of webhooks: source → the condition for its rows of int_loaded_events. #}
{% macro sources_of_events(providers) -%}
    {%- set sources = {'native': "provider = 'native'"} -%}
    {%- if providers is none or providers -%}
        {%- do sources.update({'webhook': "provider is distinct from 'native'"}) -%}
    {%- endif -%}
    {{ return(sources) }}
{%- endmacro %}


{#
    The condition under which a model reads the rows of the native log that are compressed, in a build; none if it need not look. Exact:
    the model chooses among them by the condition for all loaded rows, and this one says that it would find none. Production compresses,
    and never while it is built, so there it is known now. Another warehouse asks when the model runs: rows can be compressed in between.
#}
{% macro reads_compressed_events() -%}
    {%- set since = run_query(
        "select since::text from app.raw_states_of_run('" ~ warehouse_name() ~ "', '" ~ this.identifier ~ "', " ~ batch_id() ~ ')'
    ).rows[0][0] if is_incremental_run() else none -%}
    {%- set condition = 'exists (select from app.compressed_raw_events)' -%}
    {%- if since -%}
        {%- set condition = '(select app.has_new_compressed_events(' ~ sql_literal(since) ~ '))' -%}
    {%- endif -%}
    {%- if warehouse_name() == 'production' and not run_query('select ' ~ condition).rows[0][0] -%} {{ return(none) }} {%- endif -%}
    {{ return(condition if since else 'true') }}
{%- endmacro %}


{# int_loaded_events (`events`), or the union of its views of this source. They have the same columns. #}
{% macro loaded_events_of(events, source, providers) -%}
    {%- if providers is none -%}
    {{ events }}
    {%- else -%}
    (
        {%- for provider in (['native'] if source == 'native' else providers) %}
        select * from {{ events.incorporate(path={'identifier': 'stg_' ~ provider ~ '_events'}) }}
        {{- ' union all' if not loop.last }}
        {%- endfor %}
        {%- set condition = reads_compressed_events() if source == 'native' else none %}
        {%- if condition is not none %}
        union all
        select * from {{ events.incorporate(path={'identifier': 'stg_compressed_events'}) }}
        where {{ condition }}
        {%- endif %}
    ) as loaded_views
    {%- endif -%}
{%- endmacro %}
