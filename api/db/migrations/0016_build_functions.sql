-- depends: 0015_standard_names

-- How a dbt build is recorded and published. The macros in macros/versioning call these functions as mailmart_owner, and nobody
-- else may. Each runs with its caller's rights. SQLSTATEs: MM001, another build is running; MM002, the build cannot be
-- continued; MM003, the build is no longer the running one.
set local role mailmart_owner;

-- a nightly run reports how many rows its build wrote
grant select on app.model_runs to mailmart_worker;

comment on table app.batches is
'One row per build. published: everything passed; built: what was selected passed; abandoned: died, found by the next build.';
comment on table app.batch_nodes is 'The dbt nodes that ran in failed builds, for dbt retry; deleted by the next publication.';
comment on column app.batches.fingerprint is 'A hash of the dbt project and its variables (macro project_fingerprint).';
comment on column app.batches.continues is 'The earliest failed build whose nodes count in this one; data_as_of is its start.';
comment on table app.nightly_runs is
'One row per nightly or manual run, written by the process that holds the advisory lock mailmart.nightly.<target>.';
comment on column app.nightly_runs.scheduled_for is 'When the run was due; when it was started, for a manual run.';
comment on column app.nightly_runs.attempts is 'Builds started for this run, including builds of a scheduler that was killed.';
comment on column app.nightly_runs.batch_id is 'The last build of this run.';
comment on column app.nightly_runs.error is 'Why the last attempt failed: the nodes that failed, or the end of dbt''s output.';

-- Whether a session of this build is connected. Every statement of a build carries its invocation id (query-comment in
-- dbt_project.yml). pg_stat_activity shows statements only to the login that runs them, so the role is reset for the look.
create function app.is_build_connected(build_invocation_id text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set role = 'none'
as $$
begin
    perform pg_stat_clear_snapshot();
    return exists (
        select from pg_stat_activity
        where
            datname = current_database()
            and pid <> pg_backend_pid()
            and query like '%' || build_invocation_id || '%'
    );
end
$$;

-- Starts a build of a warehouse, and returns its number. Refuses while another build is running. A build without a connection for
-- five seconds is dead (dbt opens one for every node) and is marked as abandoned; if it was alive after all, hold_batch() keeps
-- it from writing.
-- must_continue: the failed build that this one is meant to continue; refuses if the retry could not be published, because the
-- project has changed or another build has run since.
create function app.begin_batch(
    warehouse text,
    build_invocation_id text,
    dbt_command text,
    project_fingerprint text,
    must_continue bigint default null
)
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    other batches;
    previous batches;
    new_batch_id bigint;
begin
    perform pg_advisory_xact_lock(hashtext('mailmart.batches'), hashtext(warehouse));
    for attempt in 1..50 loop
        select * into other from batches
        where target = warehouse and status = 'running';
        exit when not found;
        if is_build_connected(other.invocation_id) then
            raise exception 'build % is running since %', other.batch_id, other.started_at
                using errcode = 'MM001', hint = 'Wait for it to end, or end it, and build again.';
        end if;
        perform pg_sleep(0.1);
    end loop;
    update batches
    set status = 'abandoned', ended_at = clock_timestamp(), failure_summary = 'died; found by the next build'
    where target = warehouse and status = 'running';
    if must_continue is not null then
        select * into previous from batches
        where target = warehouse
        order by batch_id desc
        limit 1;
        if (previous.batch_id, previous.status, previous.fingerprint)
            is distinct from (must_continue, 'failed', project_fingerprint)
        then
            raise exception 'build % cannot be continued: the project has changed, or another build has run since', must_continue
                using errcode = 'MM002', hint = 'Run dbt build.';
        end if;
    end if;
    insert into batches (target, invocation_id, command, fingerprint)
    values (warehouse, build_invocation_id, dbt_command, project_fingerprint)
    returning batch_id into new_batch_id;
    return new_batch_id;
end
$$;

-- For a model's own transaction: locks the build's row until the transaction ends, so that a build that was taken for dead cannot
-- write beside its successor; and makes the settings of a build, also until then.
create function app.hold_batch(held_batch_id bigint, build_work_mem text)
returns void
language plpgsql
set search_path = app, pg_temp
as $$
begin
    -- if dbt is killed, its statement ends within a second, and the next build need not wait
    perform set_config('client_connection_check_interval', '1s', true);
    -- ids of rejected events contain times
    perform set_config('timezone', 'UTC', true);
    -- new rows are looked up by key, and most of their pages are in memory
    perform set_config('random_page_cost', '1.1', true);
    -- few rows are joined with many; a merge join would sort the many
    perform set_config('enable_mergejoin', 'off', true);
    perform set_config('work_mem', build_work_mem, true);
    perform from batches
    where batch_id = held_batch_id and status = 'running'
    for share;
    if not found then
        raise exception 'build % is no longer running: a later build took it for dead, or it was never started', held_batch_id
            using errcode = 'MM003', hint = 'Run dbt build (or dbt run) again.';
    end if;
end
$$;

-- The last run of each dbt node in a build and in the failed builds directly before it. That chain of builds ends at a build of
-- another fingerprint, at one that did not fail, and at a publication or rollback.
create function app.node_runs(last_batch_id bigint)
returns table (node_id text, batch_id bigint, has_passed boolean)
language sql stable
begin atomic
    with recursive builds as (
        select
            batches.batch_id,
            batches.target,
            batches.fingerprint
        from app.batches
        where batches.batch_id = last_batch_id
        union all
        select
            previous.batch_id,
            previous.target,
            previous.fingerprint
        from builds
        inner join app.batches as previous
            on previous.batch_id = (
                select max(older.batch_id) from app.batches as older
                where older.target = builds.target and older.batch_id < builds.batch_id
            )
        left join app.current_publication as publication on builds.target = publication.target
        where
            previous.status = 'failed'
            and previous.fingerprint = builds.fingerprint
            and previous.started_at > coalesce(publication.changed_at, '-infinity')
    )

    select distinct on (nodes.node_id)
        nodes.node_id,
        nodes.batch_id,
        nodes.has_passed
    from builds
    inner join app.batch_nodes as nodes on builds.batch_id = nodes.batch_id
    order by nodes.node_id asc, nodes.batch_id desc;
end;

-- If the node_runs() make a whole build (every node of the project has passed, and none before a node that it depends on): the
-- earliest build that one of them is of. Otherwise null.
-- project: {node_id: [node_id of a parent, …]}
create function app.complete_since(last_batch_id bigint, project json)
returns bigint
language sql stable
begin atomic
    with runs as (
        select * from app.node_runs(last_batch_id)
    ),

    nodes as (
        select
            entries.key as node_id,
            entries.value as parents
        from json_each(project) as entries
    ),

    passed as (
        select
            runs.batch_id,
            coalesce(runs.has_passed, false) as has_passed
        from nodes
        left join runs on nodes.node_id = runs.node_id
    ),

    outdated as (
        select nodes.node_id
        from nodes
        cross join json_array_elements_text(nodes.parents) as parents (node_id)
        inner join runs on nodes.node_id = runs.node_id
        inner join runs as parent_runs on parents.node_id = parent_runs.node_id
        where parent_runs.batch_id > runs.batch_id
    )

    select case when bool_and(passed.has_passed) and not exists (select from outdated) then min(passed.batch_id) end
    from passed;
end;

-- Makes a build the one that is served.
-- complete_since_batch_id: the earliest build that its rows are of; the data are as of the start of that one.
-- contract: what the API may show; stored, so that a manifest that is newer than the database breaks nothing.
create function app.publish_batch(published_batch_id bigint, complete_since_batch_id bigint, contract json)
returns void
language plpgsql
set search_path = app, pg_temp
as $$
declare
    published batches;
begin
    select * into strict published from batches
    where batch_id = published_batch_id;
    insert into publications (target, batch_id, data_as_of, contract)
    select published.target, published.batch_id, batches.started_at, publish_batch.contract
    from batches
    where batches.batch_id = complete_since_batch_id;
    insert into current_publication (target, batch_id)
    values (published.target, published.batch_id)
    on conflict (target) do update set batch_id = excluded.batch_id, changed_at = clock_timestamp();
    delete from batch_nodes
    where batch_id in (select batches.batch_id from batches where batches.target = published.target);
end
$$;

-- Records how a build ended, publishes it if it is complete, and returns its status.
-- results: {node_id: {"name": …, "status": dbt's, "message": …}}; project, contract: see complete_since() and publish_batch().
-- can_publish: false for dbt run, which tests nothing.
create function app.end_batch(
    ended_batch_id bigint,
    results json,
    project json,
    contract json,
    can_publish boolean
)
returns text
language plpgsql
set search_path = app, pg_temp
as $$
declare
    passed constant text[] := array['success', 'pass', 'warn'];
    not_run constant text[] := array['skipped', 'no-op'];
    has_failed boolean;
    failures text;
    since_batch_id bigint;
    new_status text;
begin
    perform from batches
    where batch_id = ended_batch_id and status = 'running'
    for update;
    if not found then
        raise exception 'build % is not published: a later build took it for dead', ended_batch_id
            using errcode = 'MM003';
    end if;
    insert into batch_nodes (batch_id, node_id, has_passed)
    select ended_batch_id, entries.key, entries.value ->> 'status' = any(passed)
    from json_each(results) as entries
    where entries.value ->> 'status' <> all(not_run);

    has_failed := exists (
        select from json_each(results) as entries
        where entries.value ->> 'status' <> all(passed)
    );
    -- the first five failures, one line each
    select string_agg(lines.line, e'\n' order by lines.place) into failures
    from (
        select
            entries.place,
            format(
                '%s: %s',
                entries.result ->> 'name',
                left(coalesce(nullif(trim(regexp_replace(entries.result ->> 'message', '\s+', ' ', 'g')), ''), 'failed'), 300)
            ) as line
        from json_each(results) with ordinality as entries (node_id, result, place)
        where entries.result ->> 'status' <> all(passed || not_run)
        order by entries.place
        limit 5
    ) as lines;
    if can_publish and not has_failed then
        since_batch_id := complete_since(ended_batch_id, project);
    end if;
    new_status := case
        when has_failed then 'failed'
        when since_batch_id is null then 'built'
        else 'published'
    end;

    update batches
    set
        status = new_status,
        ended_at = clock_timestamp(),
        continues = nullif(since_batch_id, ended_batch_id),
        failure_summary = failures
    where batch_id = ended_batch_id;
    if new_status = 'published' then
        perform publish_batch(ended_batch_id, since_batch_id, contract);
    elsif new_status = 'built' then
        -- only the nodes of failed builds count in a retry
        delete from batch_nodes
        where batch_id = ended_batch_id;
    end if;
    return new_status;
end
$$;

-- Drops the views of marts that no publication names and that are not kept. A view that is being read is left to the next build.
create function app.drop_unserved_views(warehouse text, view_schema text, kept_views text[])
returns void
language plpgsql
set search_path = app, pg_temp
set lock_timeout = '1s'
as $$
declare
    unserved text;
begin
    for unserved in
        select pg_views.viewname
        from pg_views
        where
            pg_views.schemaname = view_schema
            and pg_views.viewname <> all(kept_views)
            and not exists (
                select from publications
                cross join json_each(publications.contract -> 'nodes') as nodes (node_id, node)
                where publications.target = warehouse and nodes.node ->> 'alias' = pg_views.viewname
            )
    loop
        begin
            execute format('drop view %I.%I', view_schema, unserved);
        exception
            when lock_not_available then null;
        end;
    end loop;
end
$$;

-- After the publication of this build: deletes the rows, records and views that neither it nor the publication before it shows.
-- Does nothing if this build is not the published one, or the first.
create function app.remove_old_versions(
    published_batch_id bigint,
    versioned_tables regclass[],
    view_schema text,
    kept_views text[]
)
returns void
language plpgsql
set search_path = app, pg_temp
as $$
declare
    warehouse text;
    previous_batch_id bigint;
    versioned_table regclass;
begin
    select older.target, max(older.batch_id) into warehouse, previous_batch_id
    from current_publication
    inner join publications as older on current_publication.target = older.target
    where
        current_publication.batch_id = published_batch_id
        and older.batch_id < published_batch_id
        and older.withdrawn_at is null
    group by older.target;
    if not found then
        return;
    end if;
    foreach versioned_table in array versioned_tables loop
        execute format('delete from %s where valid_to <= %s', versioned_table, previous_batch_id);
    end loop;
    delete from publications
    where target = warehouse and batch_id < previous_batch_id;
    delete from model_runs
    where target = warehouse and batch_id < previous_batch_id;
    perform drop_unserved_views(warehouse, view_schema, kept_views);
end
$$;

-- Adds the columns that a table does not have yet; a table that does not exist is left to dbt.
-- columns: {name: data type}
-- A table that is being read is tried again and again: one long wait, for an export for example, would block every later reader.
create function app.add_missing_columns(relation text, columns json)
returns void
language plpgsql
set search_path = app, pg_temp
set lock_timeout = '1s'
as $$
declare
    existing_table constant regclass := to_regclass(relation);
    additions text;
begin
    if existing_table is null then
        return;
    end if;
    for attempt in 1..100 loop
        select string_agg(format('add column %I %s', entries.name, entries.data_type), ', ' order by entries.place)
        into additions
        from json_each_text(columns) with ordinality as entries (name, data_type, place)
        where not exists (
            select from pg_attribute
            where
                pg_attribute.attrelid = existing_table
                and pg_attribute.attname = entries.name
                and not pg_attribute.attisdropped
        );
        if additions is null then
            return;
        end if;
        begin
            execute format('alter table %s %s', existing_table, additions);
            return;
        exception
            when lock_not_available then perform pg_sleep(1);
        end;
    end loop;
    raise exception '% has been read without a pause for minutes, and cannot get its new columns', existing_table
        using errcode = 'lock_not_available', hint = 'Find the long-running transaction in pg_stat_activity, and build again.';
end
$$;

revoke execute on function app.is_build_connected(text) from public;
revoke execute on function app.begin_batch(text, text, text, text, bigint) from public;
revoke execute on function app.hold_batch(bigint, text) from public;
revoke execute on function app.node_runs(bigint) from public;
revoke execute on function app.complete_since(bigint, json) from public;
revoke execute on function app.publish_batch(bigint, bigint, json) from public;
revoke execute on function app.end_batch(bigint, json, json, json, boolean) from public;
revoke execute on function app.drop_unserved_views(text, text, text[]) from public;
revoke execute on function app.remove_old_versions(bigint, regclass[], text, text[]) from public;
revoke execute on function app.add_missing_columns(text, json) from public;

reset role;
