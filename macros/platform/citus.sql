{#
    What differs if the tables of core are distributed over the nodes of a Citus cluster (`mailmart migrate --citus`). Everything else
    is one SQL for both. A command asks once; on plain PostgreSQL these macros change no statement.
#}

{# In hold_batch(): in the transaction of a model of core, DDL reaches the nodes. #}
{% macro ddl_for_all_nodes() -%}
    {%- if is_distributed() -%}
    ,
        app.propagate_ddl(true)
    {%- endif -%}
{%- endmacro %}


{#
    Makes a new table of core on the nodes, and fills it there. A query whose rows depend on one workspace each runs on the nodes,
    and none of its rows comes to the coordinator.

    Nothing compares the columns of the query with the contract, as on one server: Citus would run all of the query for that. They are
    selected by the names of the contract, so that a missing one is an error.
#}
{% macro create_distributed_table_as(relation, sql) -%}
    create table {{ relation }} (
        {%- for column in model.columns.values() %}
        {{ adapter.quote(column.name) }} {{ column.data_type }}{{ ',' if not loop.last }}
        {%- endfor %}
    );
    {% if 'workspace_id' in model.columns -%}
    select app.distribute('{{ relation }}');
    {%- elif 'mailmart_api' in (config.get('grants') or {}).get('select', []) -%}
    select app.distribute('{{ relation }}', is_reference => true);
    {%- endif %}
    select app.propagate_ddl(true);
    insert into {{ relation }} (
        {%- for column in model.columns.values() %}
        {{- adapter.quote(column.name) }}{{ ', ' if not loop.last }}
        {%- endfor -%}
    )
    {{ get_select_subquery(sql) }};
{%- endmacro %}


{#
    Analyzes a table of core after a build has written to it, if its size has changed much. On Citus, autovacuum of each node does it,
    except after many new rows.
#}
{% macro analyze_if_changed(relation) -%}
    {%- if not is_distributed() -%}
    select app.analyze_if_changed('{{ relation }}');
    {%- else -%}
    do $analyze$
    begin
        if (select count(*) from {{ relation }} where valid_from = {{ batch_id() }}) > 50000 then
            analyze {{ relation }};
        end if;
    end
    $analyze$;
    {%- endif -%}
{%- endmacro %}


{# The condition of a join with lateral_lookup(), which has the key itself on plain PostgreSQL. Citus has no lateral outer join. #}
{% macro lookup_condition(alias, key, of) -%}
    {%- if is_distributed() -%}
    {%- for column in key -%}
    {{ alias }}.{{ column }} = {{ of }}.{{ column }}{{ ' and ' if not loop.last }}
    {%- endfor -%}
    {%- else -%}
    true
    {%- endif -%}
{%- endmacro %}


{#
    Beside is_visible_as_of(): the rows of the request's workspace. Citus sends a query to the one node that has the workspace only if
    each table has its workspace as a literal. The API writes the literal in place of what is between the two marks
    (api/db/citus_queries.py). Row-level security holds without it, and the rows of a unit test need have no workspace.
#}
{% macro and_in_requested_workspace(alias) -%}
    {%- if is_distributed() and model.resource_type != 'unit_test' %}
    and {{ alias }}.workspace_id = /*workspace_id*/coalesce({{ request_workspace_id() }}, {{ alias }}.workspace_id)/*end*/
    {%- endif -%}
{%- endmacro %}


{# The policies of a table with workspaces. Citus has no subquery in a policy, and its nodes do not know the login. #}
{% macro isolate_tenants_on_nodes(relation) -%}
    perform app.isolate_tenants_on_nodes('{{ relation }}');
{%- endmacro %}


{# Keeps the query of a served view for the API. Without the name of the database, which a copy or a restored one does not have. #}
{% macro keep_served_query(schema, name, query) -%}
    {%- if is_distributed() -%}
        {%- set database = adapter.quote(this.database) -%}
        {%- set query = modules.re.sub(modules.re.escape(database) ~ '\\.(?="[^"]+"\\.")', '', query) -%}
        {%- do run_query(
            'insert into app.served_queries (view_schema, view_name, query) values ('
            ~ sql_literal(schema) ~ ', ' ~ sql_literal(name) ~ ', ' ~ sql_literal(query)
            ~ ') on conflict (view_schema, view_name) do update set query = excluded.query; commit'
        ) -%}
    {%- endif -%}
{%- endmacro %}


{# After views were removed: their queries. #}
{% macro remove_unserved_queries() -%}
    {%- if is_distributed() -%}
    ;
    delete from app.served_queries
    where to_regclass(format('%I.%I', view_schema, view_name)) is null
    {%- endif -%}
{%- endmacro %}


{#
    On Citus, the existing rows that a recomputation of this model may replace or expire (meta.recompute_scope). What the coordinator's
    tables and the incoming rows say becomes a literal.
#}
{% macro recompute_scope_on_nodes(incoming) -%}
    {%- if this.identifier == 'fct_messages' -%}
    {{ is_not_closed_on_nodes('existing') }}
    {%- elif this.identifier == 'fct_email_events' -%}
        {%- set since = run_query(
            "select greatest(coalesce(min(loaded_at) filter (where provider = 'native'), 'infinity'), app.removed_until('email_events'))::text,"
            ~ " greatest(coalesce(min(loaded_at) filter (where provider <> 'native'), 'infinity'), app.removed_until('webhook_payloads'))::text"
            ~ ' from ' ~ incoming
        ).rows[0] -%}
    existing.loaded_at >= case
        when existing.provider = 'native' then {{ sql_literal(since[0]) }}::timestamptz
        else {{ sql_literal(since[1]) }}::timestamptz
    end
    {%- elif this.identifier == 'fct_rejected_events' -%}
        {%- set since = run_query(
            "select greatest(coalesce(min(loaded_at), 'infinity'), app.removed_until('email_events'),"
            ~ " app.removed_until('webhook_payloads'), app.removed_until('rejected_payloads'))::text from " ~ incoming
        ).rows[0][0] -%}
    existing.problem <> 'message_not_retained' and existing.loaded_at >= {{ sql_literal(since) }}::timestamptz
    {%- elif config.get('meta', {}).get('recompute_scope') -%}
        {{ exceptions.raise_compiler_error('recompute_scope_on_nodes() has no scope of ' ~ this.identifier) }}
    {%- endif -%}
{%- endmacro %}


{# is_not_closed() of rows of core: Citus sends the closed messages to the nodes. Neither column is ever null. #}
{% macro is_not_closed_on_nodes(alias) -%}
    ({{ alias }}.workspace_id, app.message_key({{ sql_literal(warehouse_name()) }}, {{ alias }}.message_id)) not in (
        select
            closed_messages.workspace_id,
            closed_messages.message_key
        from app.closed_messages
    )
{%- endmacro %}


{#
    Citus cannot push down the subquery of link_of(), so there it is the body of a function that each node has. Made again by each whole
    build, because the macro can change.
#}
{% macro make_functions_on_nodes() -%}
    {%- if is_distributed() -%}
        {%- set link_of_url = generate_schema_name('core', none) ~ '.link_of_url' -%}
        {%- do run_query(
            'select app.propagate_ddl(true); create or replace function ' ~ link_of_url ~ '(url text) returns text'
            ~ ' language sql immutable parallel safe set search_path = pg_catalog, pg_temp'
            ~ ' as $body$ select ' ~ link_of('url') ~ ' $body$;'
            ~ ' select create_distributed_function(' ~ sql_literal(link_of_url ~ '(text)') ~ ');'
            ~ ' select app.propagate_ddl(false); commit'
        ) -%}
    {%- endif -%}
{%- endmacro %}


{# link_of() on the nodes. #}
{% macro link_of_on_nodes(url) -%}
    {{ generate_schema_name('core', none) }}.link_of_url({{ url }})
{%- endmacro %}


{# On Citus, the value of a subquery on the catalog, which its nodes do not have: asked when the model is compiled. #}
{% macro value_on_nodes(subquery) -%}
    {%- if not is_distributed() -%} {{ return(subquery) }} {%- endif -%}
    {{ return(run_query('select ' ~ subquery).rows[0][0]) }}
{%- endmacro %}


{#
    On Citus, dbt's statement that makes an index, in a block: Citus sends a statement to the nodes as it was written, with the settings
    before it.
#}
{% macro postgres__get_create_index_sql(relation, index_dict) -%}
    {%- set statement = dbt.postgres__get_create_index_sql(relation, index_dict) -%}
    {%- if not is_distributed() -%} {{ return(statement) }} {%- endif -%}
    do $index$
    begin
        {{ statement }};
    end
    $index$
{%- endmacro %}
