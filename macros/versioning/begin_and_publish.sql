{#
    A build is a batch: it gets a number when it starts, every row that it writes carries that number, and when everything has
    passed, the number is published. The work is done by functions of schema app (api/db/migrations/0016_build_functions.sql).
#}

{# valid_to of a current row. Not null, so that "true as of a batch" is one plain range. #}
{% macro open_ended() -%} 9223372036854775807 {%- endmacro %}


{# The condition that a version is the current one of its key. #}
{% macro is_current(alias=none) -%}
    {{ alias ~ '.' if alias }}valid_to = {{ open_ended() }}
{%- endmacro %}


{# The number of this build; 0 if it has none (dbt compile, docs generate, show). #}
{% macro batch_id() -%}
    {%- if execute -%}
        {%- set found = run_query(
            "select batch_id from app.batches where invocation_id = '" ~ invocation_id ~ "'"
        ) -%}
        {{ return(found.rows[0][0] if found.rows else 0) }}
    {%- else -%}
        {{ return(0) }}
    {%- endif -%}
{%- endmacro %}


{# The batch that is served; 0 if none was published yet. #}
{% macro published_batch() -%}
    {%- if not execute -%} {{ return(0) }} {%- endif -%}
    {%- set found = run_query("select batch_id from app.current_publication where target = '" ~ warehouse_name() ~ "'") -%}
    {{ return(found.rows[0][0] if found.rows else 0) }}
{%- endmacro %}


{# Whether this command is recorded as a build. #}
{% macro is_recorded_build() -%}
    {{ return(execute and flags.WHICH in ['run', 'build', 'retry'] and not flags.EMPTY) }}
{%- endmacro %}


{#
    on-run-start. A second build at the same time is refused.

    The statements are run here, not returned as the hook's SQL: if a hook's SQL fails, dbt goes on with the nodes, and would load
    seeds beside the build that is running. (dbt's flag skip_nodes_if_on_run_start_fails breaks on exposures in 1.11.)
#}
{% macro begin_batch() -%}
    {%- if is_recorded_build() -%}
        {#- hooks run as the login: dbt sets the profile's role in a transaction that it rolls back -#}
        {%- do run_query('set role ' ~ adapter.quote(target.role or target.user) ~ '; commit') -%}
        {%- do require_migrations() -%}
        {%- do run_query(
            'select app.begin_batch('
            ~ sql_literal(warehouse_name()) ~ ', '
            ~ sql_literal(invocation_id) ~ ', '
            ~ sql_literal(dbt_command()) ~ ', '
            ~ sql_literal(project_fingerprint()) ~ ', '
            ~ (env_var('MAILMART_DBT_MUST_CONTINUE', '') | int(default='null'))
            ~ '); commit'
        ) -%}
        {%- do make_served_schema() -%}
        {%- do add_new_columns() -%}
    {%- endif -%}
{%- endmacro %}


{% macro require_migrations() -%}
    {%- if run_query("select to_regproc('app.begin_batch')").rows[0][0] is none -%}
        {%- do exceptions.raise_compiler_error('The database is not migrated to this release: run `mailmart migrate`, then build again.') -%}
    {%- endif -%}
{%- endmacro %}


{# Pre-hook of every versioned model, inside its transaction. #}
{% macro hold_batch() -%}
    select
        app.hold_batch({{ batch_id() }}, {{ sql_literal(var('build_work_mem')) }}),
        set_config('statement_timeout', {{ sql_literal(var('model_timeout')) }}, true)
{%- endmacro %}


{# on-run-end: records how the build ended, and publishes it if everything was selected and passed, in one transaction. #}
{% macro end_batch(results) -%}
    {%- set batch = batch_id() if is_recorded_build() else 0 -%}
    {%- if batch == 0 -%} {{ return('') }} {%- endif -%}
    {%- do explain_timeouts(results) -%}
    select app.end_batch(
        {{ batch }},
        {{ sql_literal(tojson(node_results(results))) }},
        {{ sql_literal(tojson(project_nodes())) }},
        {{ sql_literal(tojson(published_contract())) }},
        {{ flags.WHICH != 'run' }}
    )
{%- endmacro %}


{# Says which models ran into the variable `model_timeout`, and what to do. #}
{% macro explain_timeouts(results) -%}
    {%- for result in results if 'statement timeout' in (result.message or '') -%}
        {%- do log(
            result.node.name ~ ' ran longer than model_timeout, ' ~ var('model_timeout') ~ ', and wrote nothing. If that much is new, build'
            ~ " again with a longer one: --vars 'model_timeout: 12h'. If not, see docs/how-to/operators/load-events.md.",
            info=true
        ) -%}
    {%- endfor -%}
{%- endmacro %}


{# on-run-end, after the publication: removes rows and views that neither of the last two publications shows. #}
{% macro remove_old_versions() -%}
    {%- set batch = batch_id() if is_recorded_build() else 0 -%}
    {%- if batch == 0 -%} {{ return('') }} {%- endif -%}
    {%- set versioned = graph.nodes.values() | selectattr('config.incremental_strategy', 'equalto', 'versioned') -%}
    select app.remove_old_versions(
        {{ batch }},
        -- a build of selected models can leave others without a table
        array(
            select to_regclass(name)
            from unnest({{ sql_array(versioned | map(attribute='relation_name') | list) }}) as name
            where to_regclass(name) is not null
        ),
        {{ sql_literal(served_schema()) }},
        {{ sql_array(current_served_views()) }}
    )
{%- endmacro %}


{# A text as an SQL literal. #}
{% macro sql_literal(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}


{# A list of texts as an SQL array. #}
{% macro sql_array(texts) -%}
    array[{% for text in texts %}{{ sql_literal(text) }}{{ ', ' if not loop.last }}{% endfor %}]::text[]
{%- endmacro %}


{# The dbt command of this build. For a retry, flags.WHICH is the command that it repeats. #}
{% macro dbt_command() -%}
    {%- for word in (invocation_args_dict.get('invocation_command') or '').split() -%}
        {%- if word in ['run', 'build', 'retry'] -%} {{ return(word) }} {%- endif -%}
    {%- endfor -%}
    {{ return(flags.WHICH) }}
{%- endmacro %}


{#
    What the API serves, taken from the graph under the keys of manifest.json, so that one reader serves both. The views are those
    of the marts' current definitions.
#}
{% macro published_contract() -%}
    {%- set contract = {'exposures': {}, 'nodes': {}} -%}
    {%- set definitions = mart_definitions() -%}
    {%- for exposure in graph.exposures.values() -%}
        {%- do contract.exposures.update({exposure.unique_id: {
            'name': exposure.name,
            'label': exposure.label,
            'description': exposure.description,
            'config': {'meta': exposure.config.meta},
            'depends_on': {'nodes': exposure.depends_on.nodes},
        }}) -%}
    {%- endfor -%}
    {%- for node in graph.nodes.values() -%}
        {#- of a mart that was never built there is no view; a publication has them all -#}
        {%- if node.resource_type == 'model' and 'marts' in node.fqn and node.alias in definitions -%}
            {%- set columns = {} -%}
            {%- for name, column in node.columns.items() -%}
                {%- do columns.update({name: {
                    'name': column.name,
                    'description': column.description,
                    'data_type': column.data_type,
                    'config': {'meta': column.config.meta},
                }}) -%}
            {%- endfor -%}
            {%- do contract.nodes.update({node.unique_id: {
                'name': node.name,
                'schema': served_schema(),
                'alias': served_name(node.alias, definitions[node.alias]),
                'description': node.description,
                'config': {'meta': node.config.meta},
                'columns': columns,
            }}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(contract) }}
{%- endmacro %}
