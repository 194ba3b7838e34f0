{#
    A build is a batch: it takes a number when it starts, every row that it writes carries that number, and when all
    of it has passed, the number is published. See design, section 4.
#}

{# valid_to of a row that stands. No null, so that "true as of b" is one plain range. #}
{% macro open_ended() -%} 9223372036854775807 {%- endmacro %}


{# The condition that a version is the current one of its key. #}
{% macro is_current(alias=none) -%}
    {{ alias ~ '.' if alias }}valid_to = {{ open_ended() }}
{%- endmacro %}


{# The number of this build; 0 where none was taken (dbt compile, docs generate, show). #}
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


{# The batch that is served; 0 where none is. #}
{% macro published_batch() -%}
    {%- if not execute -%} {{ return(0) }} {%- endif -%}
    {%- set found = run_query("select batch_id from app.current_publication where target = '" ~ warehouse_name() ~ "'") -%}
    {{ return(found.rows[0][0] if found.rows else 0) }}
{%- endmacro %}


{% macro takes_a_batch() -%}
    {{ return(flags.WHICH in ['run', 'build', 'retry'] and not flags.EMPTY) }}
{%- endmacro %}


{#
    on-run-start. A second build at the same time is refused. Whether the other one lives is seen by its connections: each
    of its statements carries its invocation id (`query-comment` in dbt_project.yml), and dbt opens a connection for every
    node, so five seconds without any are a death. Were that ever wrong, hold_batch() still keeps the one that was taken for
    dead from writing.

    Run here and now, and not given to dbt as the hook's SQL: of a hook whose SQL fails dbt goes on with the nodes, and would load
    seeds beside the build that runs. (Its flag against that, skip_nodes_if_on_run_start_fails, falls over exposures in 1.11.)
#}
{% macro begin_batch() -%}
    {%- if execute and takes_a_batch() -%}
        {%- do run_query(taking_a_batch()) -%}
        {#- hooks run as the login: dbt takes the profile's role in a transaction that it rolls back -#}
        {%- do run_query('set role ' ~ adapter.quote(target.role or target.user) ~ '; commit') -%}
        {%- do make_served_schema() -%}
        {%- do add_new_columns() -%}
    {%- endif -%}
{%- endmacro %}


{% macro taking_a_batch() -%}
    do $begin$
    declare
        owner text := current_user;
        other record;
    begin
        -- statements show only to the login that runs them, and the profile has taken the owner's role
        set local role none;
        perform pg_advisory_xact_lock(hashtext('mailmart.batches'), hashtext('{{ warehouse_name() }}'));
        for attempt in 1..50 loop
            select batch_id, invocation_id, started_at into other
            from app.batches
            where target = '{{ warehouse_name() }}' and status = 'running';
            exit when not found;
            perform pg_stat_clear_snapshot();
            if exists (
                select from pg_stat_activity
                where
                    datname = current_database()
                    and pid <> pg_backend_pid()
                    and query like '%' || other.invocation_id || '%'
            ) then
                raise exception 'build % is running since %', other.batch_id, other.started_at
                    using hint = 'Wait for it to end, or end it, and build again.';
            end if;
            perform pg_sleep(0.1);
        end loop;
        execute format('set local role %I', owner);
        update app.batches
        set status = 'abandoned', ended_at = clock_timestamp(), failure_summary = 'died; found by the next build'
        where target = '{{ warehouse_name() }}' and status = 'running';
        insert into app.batches (target, invocation_id, command, fingerprint)
        values ('{{ warehouse_name() }}', '{{ invocation_id }}', '{{ command_given() }}', '{{ project_fingerprint() }}');
    end
    $begin$;
    commit
{%- endmacro %}


{#
    Pre-hook of every versioned model, inside its transaction: the batch is still ours, and stays so until the
    transaction ends. Without it, a build that was taken for dead could write beside its successor.
#}
{% macro hold_batch() -%}
    do $hold$
    begin
        -- a backend whose dbt was killed ends its statement within a second, so that the next build need not wait
        set local client_connection_check_interval = '1s';
        -- whoever builds, from wherever: a landing's id has its times in it
        set local timezone = 'UTC';
        -- what is new is looked up by its key, whatever the server thinks of random reads: its pages are mostly in memory
        set local random_page_cost = 1.1;
        -- the few are joined with the many; a merge would sort the many
        set local enable_mergejoin = off;
        set local work_mem = '{{ var('build_work_mem') }}';
        perform from app.batches where batch_id = {{ batch_id() }} and status = 'running' for share;
        if not found then
            raise exception 'build {{ batch_id() }} is not the running one: it was taken for dead by a later build, or took no number'
                using hint = 'Run dbt build (or dbt run) again.';
        end if;
    end
    $hold$;
{%- endmacro %}


{#
    on-run-end: says how the build ended and, if all was selected and passed, publishes it, in one transaction.
    The contract (what the API may show) is stored with the publication, so that a manifest that is newer than the
    database breaks nothing. Of a failed build it is kept which nodes passed, for a retry; its data are as of the earliest build
    that it is made of.
#}
{% macro end_batch(results) -%}
    {%- if not execute or not takes_a_batch() -%} {{ return('') }} {%- endif -%}
    {%- set batch = batch_id() -%}
    {%- if batch == 0 -%} {{ return('') }} {%- endif -%}
    {%- set end = end_of_batch(results, batch) -%}
    do $end$
    begin
        update app.batches
        set
            status = '{{ end.status }}',
            ended_at = clock_timestamp(),
            continues = {{ end.continues or 'null' }},
            failure_summary = {{ sql_text(end.failures[:5] | join('\n')) if end.failures else 'null' }}
        where batch_id = {{ batch }} and status = 'running';
        if not found then
            raise exception 'build {{ batch }} was taken for dead by a later build, and is not published';
        end if;
    {% if end.status == 'failed' %}
        insert into app.batch_nodes (batch_id, node_id, has_passed)
        select {{ batch }}, key, value::boolean from json_each_text({{ sql_text(tojson(end.ran)) }});
    {% endif %}
    {% if end.status == 'published' %}
        insert into app.publications (target, batch_id, data_as_of, contract)
        select this.target, this.batch_id, coalesce(earliest.started_at, this.started_at), {{ sql_text(tojson(published_contract())) }}
        from app.batches as this
        left join app.batches as earliest on this.continues = earliest.batch_id
        where this.batch_id = {{ batch }};
        insert into app.current_publication (target, batch_id)
        values ('{{ warehouse_name() }}', {{ batch }})
        on conflict (target) do update set batch_id = excluded.batch_id, changed_at = clock_timestamp();
        delete from app.batch_nodes
        where batch_id in (select batch_id from app.batches where target = '{{ warehouse_name() }}');
    {% endif %}
    end
    $end$;
{%- endmacro %}


{# A text as an SQL literal, inside a block that `$end$` quotes. #}
{% macro sql_text(text) -%}
    '{{ text | replace("'", "''") | replace("$end$", "$ end$") }}'
{%- endmacro %}


{#
    What the API serves, cut out of the graph under the keys of manifest.json, so that one reader serves both; the views are those of
    the marts' definitions.
#}
{% macro published_contract() -%}
    {%- set contract = {'exposures': {}, 'nodes': {}} -%}
    {%- set definitions = standing_definitions() -%}
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
        {%- if node.resource_type == 'model' and 'marts' in node.fqn -%}
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


{# on-run-end, after the publication: rows and views that neither of the last two publications shows. #}
{% macro remove_old_versions() -%}
    {%- if not execute or not takes_a_batch() -%} {{ return('') }} {%- endif -%}
    {%- set before = run_query(
        "select max(older.batch_id) from app.current_publication as served"
        ~ " inner join app.publications as older on served.target = older.target"
        ~ " where served.target = '" ~ warehouse_name() ~ "' and served.batch_id = " ~ batch_id()
        ~ " and older.batch_id < served.batch_id and older.withdrawn_at is null"
    ).rows[0][0] -%}
    {%- if before is not none -%}
        {%- for node in graph.nodes.values() if node.config.incremental_strategy == 'versioned' %}
            delete from {{ api.Relation.create(node.database, node.schema, node.alias) }} where valid_to <= {{ before }};
        {%- endfor %}
        delete from app.publications where target = '{{ warehouse_name() }}' and batch_id < {{ before }};
        delete from app.model_runs where target = '{{ warehouse_name() }}' and batch_id < {{ before }};
        {{ drop_unserved_views() }}
    {%- endif -%}
{%- endmacro %}
