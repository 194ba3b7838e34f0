{#
    What a new version of core computes that rows of an older one do not have. Add a version if a backfill would give old rows other
    values. Builds compute new mail only, so until a backfill the rows that were there before stay of their version.
#}
{% macro core_versions() -%}
    {{ return({
        2: 'links, mailbox providers of recipients, steps and variants, days of human opens, coverage of human engagement,'
            ~ ' ids of one message that differ, and bounce reasons by the present rules',
    }) }}
{%- endmacro %}


{# The version of core of this project. #}
{% macro core_version() -%} {{ return(core_versions().keys() | max) }} {%- endmacro %}


{# A statement, after app.begin_batch(): records of which version the rows are after this build. #}
{% macro record_core_version() -%}
    {#- a project of a test has its own models -#}
    {%- set events = graph.nodes.get('model.' ~ project_name ~ '.fct_email_events') -%}
    select app.record_core_version(
        {{ batch_id() }},
        {{ core_version() }},
        {{ var('recompute') }},
        {{ 'to_regclass(' ~ sql_literal(events.relation_name) ~ ')' if events else 'null' }}
    )
{%- endmacro %}


{# on-run-end: warns that rows are of an older version, what they do not have, and how to compute them again. #}
{% macro warn_of_old_rows() -%}
    {%- if is_continuous_build() -%} {{ return('') }} {%- endif -%}
    {%- set recorded = run_query('select core_version from app.batches where batch_id = ' ~ batch_id()).rows[0][0] or 1 -%}
    {%- set missing = [] -%}
    {%- for version, what in core_versions().items() if version > recorded -%} {%- do missing.append(what) -%} {%- endfor -%}
    {%- if missing -%}
        {%- do exceptions.warn(
            'Mail that was built before this release does not have: ' ~ missing | join('; ') ~ '. Marts show nothing or 0 for it. '
            ~ how_to_backfill()
        ) -%}
    {%- endif -%}
{%- endmacro %}


{# A sentence: the command that computes old rows again. #}
{% macro how_to_backfill() -%}
    {%- set command = 'mailmart build' if warehouse_name() == 'production' else 'dbt build' -%}
    {{ return('Backfill: ' ~ command ~ " --vars '{recompute: true}' --exclude-resource-type unit_test") }}
{%- endmacro %}
