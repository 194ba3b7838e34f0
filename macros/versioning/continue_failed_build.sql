{#
    What of the project has passed, when a build goes on where a failed one ended (dbt retry): its own nodes, and those that
    passed in the failed builds directly before it. See end_batch().
#}

{#
    What a build is made from: the project's nodes, macros and variables. Of two builds with the same fingerprint, one may go on
    with what the other has done. Read from what dbt has parsed, so that plain dbt knows it as well.
#}
{% macro project_fingerprint() -%}
    {%- set parts = [dbt_version, adapter.config.vars.to_dict(), invocation_args_dict.get('vars')] -%}
    {%- for id, node in graph.nodes | dictsort -%}
        {%- do parts.append([
            id, node.checksum, node.raw_code, node.config, node.columns, node.description,
            node.depends_on.get('nodes', []), node.get('test_metadata'), node.schema, node.alias
        ]) -%}
    {%- endfor -%}
    {%- for id, source in graph.sources | dictsort -%}
        {%- do parts.append([id, source.relation_name]) -%}
    {%- endfor -%}
    {%- for id, exposure in graph.exposures | dictsort -%}
        {%- do parts.append([id, exposure.config, exposure.description, exposure.label, exposure.depends_on.nodes]) -%}
    {%- endfor -%}
    {%- for name, macro in context[project_name] | dictsort -%}
        {%- do parts.append([name, macro.macro.macro_sql]) -%}
    {%- endfor -%}
    {{ return(local_md5(tojson(parts, sort_keys=true))) }}
{%- endmacro %}


{#
    The nodes that ran in the failed builds directly before this one, with the last batch in which each did and whether it
    passed. A build of another project, one that died (what it did is not known), one that passed, or a publication in between
    (also one that was gone back to) ends the row of builds.
#}
{% macro ran_before(batch) -%}
    {%- set ran = {} -%}
    {%- set found = run_query(
        "with recursive failed as ("
        ~ " select batch_id, target, fingerprint from app.batches where batch_id = " ~ batch
        ~ " union all"
        ~ " select older.batch_id, older.target, older.fingerprint from failed"
        ~ " inner join app.batches as older on older.batch_id = ("
        ~ "     select max(batch_id) from app.batches"
        ~ "     where target = failed.target and batch_id < failed.batch_id)"
        ~ " left join app.current_publication as publication on failed.target = publication.target"
        ~ " where older.status = 'failed' and older.fingerprint = failed.fingerprint"
        ~ " and older.started_at > coalesce(publication.changed_at, '-infinity'))"
        ~ " select nodes.node_id, nodes.batch_id, nodes.has_passed"
        ~ " from failed inner join app.batch_nodes as nodes using (batch_id) order by nodes.batch_id"
    ) -%}
    {%- for row in found.rows -%}
        {%- do ran.update({row[0]: {'batch': row[1], 'passed': row[2]}}) -%}
    {%- endfor -%}
    {{ return(ran) }}
{%- endmacro %}


{#
    How a build ended:

    status     published: every model, seed and test of the project has run and passed, here or in the failed builds directly
               before, and none of them before something that it stands on; failed; built: what was selected passed, and that
               was not everything.
    continues  the earliest build of which something counts, where it is not this one.
    ran        the nodes that ran here, and whether they passed.
    failures   what failed, as a line each.
#}
{% macro end_of_batch(results, batch) -%}
    {%- set end = {'status': 'published' if flags.WHICH != 'run' else 'built', 'continues': none, 'ran': {}, 'failures': []} -%}
    {%- for result in results if result.node.resource_type | string != 'exposure' -%}
        {%- set status = result.status | string -%}
        {%- set passed = status in ['success', 'pass', 'warn'] -%}
        {%- if not passed -%}
            {%- do end.update({'status': 'failed'}) -%}
        {%- endif -%}
        {%- if status not in ['skipped', 'no-op'] -%}
            {%- do end.ran.update({result.node.unique_id: passed}) -%}
            {%- if not passed -%}
                {%- do end.failures.append(result.node.name ~ ': ' ~ first_words(result.message)) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if end.status != 'published' -%} {{ return(end) }} {%- endif -%}

    {%- set ran = ran_before(batch) -%}
    {%- for node in end.ran -%}
        {%- do ran.update({node: {'batch': batch, 'passed': true}}) -%}
    {%- endfor -%}
    {%- set earliest = [batch] -%}
    {%- for node in graph.nodes.values() if node.resource_type in ['model', 'seed', 'snapshot', 'test'] and not is_ephemeral(node) -%}
        {%- set own = ran.get(node.unique_id, {'batch': 0, 'passed': false}) -%}
        {%- if not own.passed -%}
            {%- do end.update({'status': 'built'}) -%}
        {%- endif -%}
        {%- for parent in built_parents(node) if ran.get(parent, own).batch > own.batch -%}
            {%- do end.update({'status': 'built'}) -%}
        {%- endfor -%}
        {%- do earliest.append(own.batch) -%}
    {%- endfor -%}
    {%- if end.status == 'published' and earliest | min < batch -%}
        {%- do end.update({'continues': earliest | min}) -%}
    {%- endif -%}
    {{ return(end) }}
{%- endmacro %}


{# An ephemeral model is not built: it is a part of the SQL of the models that read it. #}
{% macro is_ephemeral(node) -%}
    {{ return(node.resource_type == 'model' and node.config.materialized == 'ephemeral') }}
{%- endmacro %}


{# The ids of a node's parents; in place of an ephemeral one, its own parents. #}
{% macro built_parents(node) -%}
    {%- set parents = [] -%}
    {%- for id in node.depends_on.get('nodes', []) -%}
        {%- set parent = graph.nodes.get(id) -%}
        {%- if parent and is_ephemeral(parent) -%}
            {%- do parents.extend(built_parents(parent)) -%}
        {%- else -%}
            {%- do parents.append(id) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(parents) }}
{%- endmacro %}


{# The beginning of a message of dbt's, on one line. #}
{% macro first_words(message) -%}
    {{ return((message or 'failed').split() | join(' ') | truncate(300, true)) }}
{%- endmacro %}


{# The command that was given: of a retry, dbt's flags say the command that it repeats. #}
{% macro command_given() -%}
    {%- for word in (invocation_args_dict.get('invocation_command') or '').split() -%}
        {%- if word in ['run', 'build', 'retry'] -%} {{ return(word) }} {%- endif -%}
    {%- endfor -%}
    {{ return(flags.WHICH) }}
{%- endmacro %}
