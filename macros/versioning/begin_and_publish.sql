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
    {#- other commands have no batch -#}
    {%- if not is_recorded_build() -%} {{ return(0) }} {%- endif -%}
    {%- set batch = kept('batch_id') -%}
    {%- if batch is not none -%} {{ return(batch) }} {%- endif -%}
    {%- set found = run_query("select batch_id from app.batches where invocation_id = '" ~ invocation_id ~ "'") -%}
    {{ return(found.rows[0][0] if found.rows else 0) }}
{%- endmacro %}


{#
    The batch that was served when this build began; 0 if none was published yet. A rollback during the build changes nothing: what was
    published has passed its tests.
#}
{% macro published_batch() -%}
    {%- if not execute -%} {{ return(0) }} {%- endif -%}
    {%- set batch = kept('published_batch') -%}
    {%- if batch is not none -%} {{ return(batch) }} {%- endif -%}
    {%- set found = run_query("select batch_id from app.current_publication where target = '" ~ warehouse_name() ~ "'") -%}
    {{ return(found.rows[0][0] if found.rows else 0) }}
{%- endmacro %}


{# Whether this command is recorded as a build. #}
{% macro is_recorded_build() -%}
    {{ return(execute and flags.WHICH in ['run', 'build', 'retry'] and not flags.EMPTY and not is_analysts_build()) }}
{%- endmacro %}


{#
    Whether the sessions have the login's own role (MAILMART_DBT_ROLE), and not the owner's: an analyst builds views of marts in a
    schema of the login's own, on the tables of production that the login may read. Nothing is recorded, published or served.
#}
{% macro is_analysts_build() -%}
    {{ return(target.role == target.user) }}
{%- endmacro %}


{# Stops an analyst's build of anything but the marts of the target dev. #}
{% macro refuse_analysts_build(what) -%}
    {%- do exceptions.raise_compiler_error(
        'The login ' ~ target.user ~ ' is an analyst\'s and cannot build ' ~ what
        ~ '. Build marts: dbt build --target dev --select path:models/marts --defer --state FOLDER (docs/how-to/operators/logins.md).'
    ) -%}
{%- endmacro %}


{#
    on-run-start. A second build at the same time is refused.

    The statements are run here, not returned as the hook's SQL: if a hook's SQL fails, dbt goes on with the nodes, and would load
    seeds beside the build that is running. (dbt's flag skip_nodes_if_on_run_start_fails breaks on exposures in 1.11.)
#}
{% macro begin_batch() -%}
    {%- if execute and is_analysts_build() and target.name == 'production' and flags.WHICH in ['run', 'build', 'retry', 'seed'] -%}
        {%- do refuse_analysts_build('the target production') -%}
    {%- endif -%}
    {%- do refuse_options() -%}
    {%- if is_recorded_build() -%}
        {%- do require_server() -%}
        {#- hooks run as the login: dbt sets the profile's role in a transaction that it rolls back -#}
        {%- do run_query('set role ' ~ adapter.quote(target.role or target.user) ~ '; commit') -%}
        {%- do require_migrations() -%}
        {%- set fingerprint = sql_literal(project_fingerprint()) -%}
        {%- do run_query(
            (require_kept_views(fingerprint) if keeps_views() else '')
            ~ 'select app.begin_batch('
            ~ sql_literal(warehouse_name()) ~ ', '
            ~ sql_literal(invocation_id) ~ ', '
            ~ sql_literal(dbt_command()) ~ ', '
            ~ fingerprint ~ ', '
            ~ (env_var('MAILMART_DBT_MUST_CONTINUE', '') | int(default='null')) ~ ', '
            ~ is_continuous_build()
            ~ '); commit'
        ) -%}
        {%- do run_query(record_core_version() ~ '; commit') -%}
        {%- do read_raw_logs() -%}
        {%- if not is_continuous_build() -%}
            {%- do make_served_schema() -%}
            {%- do make_functions_on_nodes() -%}
            {%- do add_new_columns() -%}
        {%- endif -%}
        {%- do keep_build_state() -%}
    {%- endif -%}
{%- endmacro %}


{#
    Whether this is a continuous build (MAILMART_BUILD_EVERY): it builds the models that hold rows, and their data tests. Everything else
    is as in the published build, or app.begin_batch() refuses.
#}
{% macro is_continuous_build() -%}
    {{ return(env_var('MAILMART_DBT_CONTINUOUS', '') != '') }}
{%- endmacro %}


{# Decides which rows of the raw logs this build reads, and analyzes the logs if their statistics are of another size. #}
{% macro read_raw_logs() -%}
    {%- do run_query('select app.adopt_restored_rows(); commit') -%}
    {%- do run_query('select app.record_raw_state(' ~ batch_id() ~ '); commit') -%}
    {%- do run_query('select app.analyze_if_changed(raw_log) from app.raw_logs() as raw_log; commit') -%}
{%- endmacro %}


{# Refuses the options of dbt that would publish nothing, or something else than they say. #}
{% macro refuse_options() -%}
    {%- if not execute or flags.WHICH not in ['run', 'build', 'retry'] -%} {{ return('') }} {%- endif -%}
    {%- if flags.EMPTY or flags.SAMPLE -%}
        {%- do exceptions.raise_compiler_error(
            '--' ~ ('empty' if flags.EMPTY else 'sample') ~ ' is refused: a model of core adds to what it has read before, and would'
            ~ ' take the rows that this option hides for deleted. Build without it.'
        ) -%}
    {%- endif -%}
    {%- if flags.FULL_REFRESH -%}
        {%- do exceptions.raise_compiler_error(
            "--full-refresh is refused: it computes no model of core again, because readers would see an empty table. Run"
            ~ " `mailmart build --vars '{recompute: true}'`. For a seed with new columns, run `dbt seed --full-refresh`."
        ) -%}
    {%- endif -%}
{%- endmacro %}


{#
    The server has to be PostgreSQL 16 or later: an older one fails at a function or an option that it does not know. And the
    login's transactions have to be ordinary ones, which a statement cannot change once another one has run.
#}
{% macro require_server() -%}
    {%- set facts = run_query(
        "select current_setting('server_version_num')::int / 10000, current_setting('default_transaction_read_only'),"
        ~ " current_setting('default_transaction_isolation')"
    ).rows[0] -%}
    {%- if facts[0] | int < 16 -%}
        {%- do exceptions.raise_compiler_error(
            'The server is PostgreSQL ' ~ facts[0] | int ~ ': mailmart needs PostgreSQL 16 to 18.'
        ) -%}
    {%- endif -%}
    {%- if facts[1] != 'off' or facts[2] != 'read committed' -%}
        {%- do exceptions.raise_compiler_error(
            'The login ' ~ target.user ~ ' has default_transaction_read_only = ' ~ facts[1]
            ~ ' and default_transaction_isolation = ' ~ facts[2] ~ '. Run `alter role ' ~ target.user
            ~ ' set default_transaction_read_only = off` and the same for the other, to read committed, or use another login.'
        ) -%}
    {%- endif -%}
{%- endmacro %}


{% macro require_migrations() -%}
    {%- set are_there = run_query("select bool_and(to_regproc(name) is not null) from unnest(array['app.record_raw_state', 'app.lock_view', 'app.assign_events_under_alias', 'app.record_core_version', 'app.take_out_events']) as name") -%}
    {%- if not are_there.rows[0][0] -%}
        {%- do exceptions.raise_compiler_error('The database is not migrated to this release: run `mailmart migrate`, then build again.') -%}
    {%- endif -%}
{%- endmacro %}


{# Pre-hook of every versioned model, inside its transaction. #}
{% macro hold_batch() -%}
    {%- if execute and is_analysts_build() -%} {%- do refuse_analysts_build(model.name) -%} {%- endif -%}
    select
        app.hold_batch({{ batch_id() }}, {{ sql_literal(var('build_work_mem')) }}),
        set_config('statement_timeout', {{ sql_literal(var('model_timeout')) }}, true)
        {{- ddl_for_all_nodes() }}
{%- endmacro %}


{# on-run-end: records how the build ended, and publishes it if everything was selected and passed, in one transaction. #}
{% macro end_batch(results) -%}
    {%- set batch = batch_id() if is_recorded_build() else 0 -%}
    {%- if batch == 0 -%} {{ return('') }} {%- endif -%}
    {%- do explain_timeouts(results) -%}
    {%- do name_lock_holders(results) -%}
    {%- do explain_rejected_events(results) -%}
    {%- do warn_of_old_rows() -%}
    select app.end_batch(
        {{ batch }},
        {{ sql_literal(tojson(node_results(results))) }},
        {{ sql_literal(tojson(project_nodes())) }},
        {{ 'null' if is_continuous_build() else sql_literal(tojson(published_contract())) }},
        {{ flags.WHICH != 'run' }}
    )
{%- endmacro %}


{# Says which models and data tests ran into the variables `model_timeout` and `test_timeout`, and what to do. #}
{% macro explain_timeouts(results) -%}
    {%- for result in results if 'statement timeout' in (result.message or '') -%}
        {%- set limit = 'test_timeout' if result.node.resource_type == 'test' else 'model_timeout' -%}
        {%- do log(
            result.node.name ~ ' ran longer than ' ~ limit ~ ', ' ~ var(limit) ~ ', and wrote nothing. If that much is new, build'
            ~ " again with a longer one: --vars '" ~ limit ~ ": 12h'. If not, see docs/how-to/operators/load-events.md.",
            info=true
        ) -%}
    {%- endfor -%}
{%- endmacro %}


{# Says which new events are not counted, why, and what to do: dbt says only how many rows the test nothing_is_rejected has found. #}
{% macro explain_rejected_events(results) -%}
    {%- for result in results if result.node.name == 'nothing_is_rejected' and result.status == 'warn' -%}
        {%- set rejected = run_query(
            'with rejected as (' ~ result.node.compiled_code ~ ')\n'
            ~ "select format('%s of %s, workspace %s: %s. %s', events, coalesce(nullif(provider, ''), 'an unknown provider'),"
            ~ " coalesce(nullif(workspace_id, ''), 'unknown'), problem, " ~ advice_for('problem') ~ ') from rejected'
            ~ ' order by events desc, workspace_id, problem, provider limit 10'
        ).columns[0].values() -%}
        {%- do log(
            'New events were rejected, and are not counted; everything else is. What was rejected, by problem:\n- '
            ~ rejected | join('\n- ') ~ '\nMore: the mart data_quality, and docs/how-to/consumers/zero.md.',
            info=true
        ) -%}
    {%- endfor -%}
{%- endmacro %}


{#
    Names the sessions that have locked a table or a view, if a statement waited for a lock in vain. Not those of the build itself,
    which has ended its transactions.
#}
{% macro name_lock_holders(results) -%}
    {%- set waited = [] -%}
    {%- for result in results if 'lock timeout' in (result.message or '') -%}
        {%- do waited.append(result.node) -%}
    {%- endfor -%}
    {%- if not waited -%} {{ return('') }} {%- endif -%}
    {%- set holders = run_query(
        "select format('pid %s (login %s, application %s) has locked %s since %s', pid, login,"
        ~ " coalesce(nullif(application, ''), 'unknown'), array_to_string(relations, ', '),"
        ~ " coalesce(to_char(transaction_started_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'), 'an unknown time'))"
        ~ ' from app.lock_holders(' ~ sql_array(waited | map(attribute='schema') | unique | list + ['raw', 'app']) ~ ')'
    ) -%}
    {%- do log(
        waited | map(attribute='name') | join(', ') ~ ' waited ' ~ var('lock_timeout') ~ ' for a lock. '
        ~ ('In the way: ' ~ (holders.columns[0].values() | join('; ')) if holders.rows else 'Nobody holds one any more')
        ~ '. To end a session: select pg_terminate_backend(pid).',
        info=true
    ) -%}
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
    {{- remove_unserved_queries() }}
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
    {%- do contract.update(published_semantic_layer(contract.nodes)) -%}
    {{ return(contract) }}
{%- endmacro %}
