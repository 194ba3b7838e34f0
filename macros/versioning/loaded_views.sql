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
    ) as loaded_views
    {%- endif -%}
{%- endmacro %}
