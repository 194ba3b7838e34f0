-- depends: 0039_parallel_staging

-- Continuous builds (MAILMART_BUILD_EVERY): builds of the models that hold rows, between the nightly runs. Views and seeds are those of
-- the published build, so the project has to be the same. SQLSTATE MM005: it is not, and a whole build is needed.
set local role mailmart_owner;

alter table app.batches add column is_continuous boolean not null default false;
alter table app.batches add column app_tables_hash text;
alter table app.publications add column current_until timestamptz;

comment on column app.batches.is_continuous is 'Only the models that hold rows were built, and their data tests. It is no nightly run.';
comment on column app.batches.app_tables_hash is 'app.app_tables_hash() when the build began.';
comment on column app.publications.current_until is
'Nothing was loaded between data_as_of and this time; null if no continuous build has looked.';

-- a nightly run has to distinguish them; the mart freshness reads current_until
grant select (is_continuous) on app.batches to mailmart_worker;
grant select (current_until) on app.publications
to mailmart_api, mailmart_worker, mailmart_analyst, mailmart_workspace_analyst;

-- The body of 0027 as text, which is read at each call: a body that was parsed when it was written lacks the columns that app.batches
-- gets here, and each run of retention failed.
create or replace function app.last_build_before(warehouse text, moment timestamptz)
returns app.batches
language sql stable
set search_path = app, pg_temp
as $$
    select batches.*
    from batches
    where
        batches.target = warehouse
        and batches.started_at < moment
        and batches.raw_snapshot is not null
        and batches.system_identifier = system_identifier()
    order by batches.batch_id desc
    limit 1
$$;

create table app.continuous_builds (
    target text primary key,
    checked_at timestamptz not null default clock_timestamp(),
    failures int not null default 0,
    failed_at timestamptz
);

comment on table app.continuous_builds is 'How continuous builds go. Grain: one warehouse.';
comment on column app.continuous_builds.checked_at is 'When the leading scheduler last began a turn: it has looked for new rows, or built.';
comment on column app.continuous_builds.failures is 'Turns that failed since the last one that did not.';
comment on column app.continuous_builds.failed_at is 'When the last of them failed; null before the first.';

grant select, insert, update on app.continuous_builds to mailmart_worker;
grant select on app.continuous_builds to mailmart_api;

-- What the tables of schema raw contain that are no logs: the platform's own tables, which builds read as a whole. The order of the rows
-- does not matter, nor does how the session shows a time.
create function app.app_tables_hash()
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, MDY'
set intervalstyle = 'postgres'
set extra_float_digits = 1
set bytea_output = 'hex'
-- if dbt is killed while this waits for a lock, the next build need not wait
set client_connection_check_interval = '1s'
as $$
declare
    app_table regclass;
    content text;
    contents text := '';
begin
    for app_table in
        select pg_class.oid
        from pg_class
        inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
        where
            pg_namespace.nspname = 'raw'
            and pg_class.relkind in ('r', 'p', 'v', 'm', 'f')
            and not pg_class.relispartition
            and pg_class.oid <> all(array(select app.raw_logs()))
            -- a table of somebody else that no model can read
            and has_table_privilege(pg_class.oid, 'select')
        order by pg_class.relname
    loop
        execute format(
            'select concat(count(*), '' '', sum(hashtextextended(whole_row::text, 0)::numeric)) from %s as whole_row', app_table
        ) into content;
        contents := contents || format(e'%s %s\n', app_table, content);
    end loop;
    return md5(contents);
end
$$;

-- Records which rows of the raw logs a build reads and what the app's tables contain, and returns the build's number. To be called
-- after adopt_restored_rows(), in another transaction, before any model reads.
create or replace function app.record_raw_state(for_batch_id bigint)
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    this_system constant bigint := system_identifier();
    earlier timestamptz;
    complete timestamptz;
begin
    select max(batches.complete_until) into earlier from batches
    where batches.system_identifier = this_system and batches.batch_id < for_batch_id;
    select loaded_completely_until(batches.started_at, earlier) into complete from batches
    where batches.batch_id = for_batch_id;
    update batches
    set
        raw_snapshot = pg_current_snapshot(),
        system_identifier = this_system,
        -- what an earlier snapshot has, this one has, too
        complete_until = greatest(complete, earlier),
        app_tables_hash = app_tables_hash()
    where batch_id = for_batch_id;
    return for_batch_id;
end
$$;

-- The time at which the oldest row was loaded that no publication has taken up; null if every row is published. Of one transaction
-- of each log: of those that no build has read, the one that began first. loaded_at can be anything, so it counts as no earlier than what the
-- publication is known to have, and as no later than now. Prometheus asks for it, so a role that cannot read raw rows may.
create function app.oldest_unpublished_row(warehouse text)
returns timestamptz
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    states constant pg_snapshot[] := app.published_raw_states(warehouse);
    since constant xid8 := (select min(pg_snapshot_xmin(states_of_models.state)) from unnest(states) as states_of_models (state));
    published_until constant timestamptz := (
        select greatest(publications.data_as_of, publications.current_until)
        from app.current_publication
        inner join app.publications using (target, batch_id)
        where current_publication.target = warehouse
    );
    raw_log regclass;
    loaded timestamptz;
    oldest timestamptz;
begin
    if published_until is not null and states is null then
        -- what was published is of another database system, and everything is read again; or no model reads the logs at all
        return case
            when exists (select from app.model_runs as runs where runs.target = warehouse and runs.raw_batch_id is not null)
                then published_until
        end;
    end if;
    for raw_log in select app.raw_logs() loop
        execute format(
            'select loaded_at from %s as raw_log'
            || ' where $1 is null or loaded_xid >= $1 and exists ('
            || 'select from unnest($2) as states (state) where not pg_visible_in_snapshot(raw_log.loaded_xid, states.state))'
            || ' order by loaded_xid limit 1',
            raw_log
        ) into loaded using since, states;
        if loaded is not null then
            oldest := least(oldest, greatest(loaded, published_until));
        end if;
    end loop;
    return case when oldest is not null then least(oldest, clock_timestamp()) end;
end
$$;

-- Whether the current publication is there because a later one was withdrawn.
create function app.is_rolled_back(warehouse text)
returns boolean
language sql stable
set search_path = app, pg_temp
as $$
    select exists (
        select from current_publication
        inner join publications on current_publication.target = publications.target
        where
            current_publication.target = warehouse
            and publications.batch_id > current_publication.batch_id
            and publications.withdrawn_at is not null
    )
$$;

-- What a continuous build has to do: new, there is something to build; nothing, everything is published, which is noted in the
-- publication; rolled_back, a publication was withdrawn and the one before it has to stay until a nightly run or a build by hand.
create function app.look_for_news(warehouse text)
returns text
language plpgsql
set search_path = app, pg_temp
as $$
declare
    published record;
    complete timestamptz;
begin
    select
        current_publication.batch_id,
        publications.data_as_of,
        earliest.app_tables_hash
    into published
    from current_publication
    inner join publications using (target, batch_id)
    inner join batches using (target, batch_id)
    -- a retry does not read again what had succeeded before
    inner join batches as earliest on earliest.batch_id = coalesce(batches.continues, batches.batch_id)
    where current_publication.target = warehouse;
    if not found then
        return 'new';
    end if;
    if is_rolled_back(warehouse) then
        return 'rolled_back';
    end if;
    complete := loaded_completely_until(clock_timestamp(), published.data_as_of);
    if
        oldest_unpublished_row(warehouse) is not null
        or published.app_tables_hash is distinct from app_tables_hash()
    then
        return 'new';
    end if;
    update publications
    set current_until = greatest(current_until, complete)
    where target = warehouse and batch_id = published.batch_id;
    return 'nothing';
end
$$;

-- Starts a build of a warehouse, and returns its number. Refuses while another build is running; waits for a continuous one, which
-- takes seconds. A build without a connection for five seconds is dead (dbt opens one for every node) and is marked as abandoned; if
-- it was alive after all, hold_batch() keeps it from writing.
-- must_continue: the failed build that this one is meant to continue; refuses if the retry could not be published, because the
-- project has changed or another build has run since.
-- continuous: builds only the models that hold rows; refuses unless everything else is as in the published build.
drop function app.begin_batch(text, text, text, text, bigint);
create function app.begin_batch(
    warehouse text,
    build_invocation_id text,
    dbt_command text,
    project_fingerprint text,
    must_continue bigint default null,
    continuous boolean default false
)
returns bigint
language plpgsql
set search_path = app, pg_temp
-- if dbt is killed while this waits for a continuous build, no build begins
set client_connection_check_interval = '1s'
as $$
declare
    max_wait constant interval := '10 minutes';
    waits_until constant timestamptz := clock_timestamp() + max_wait;
    looks_without_connection int := 0;
    other batches;
    previous batches;
    published batches;
    new_batch_id bigint;
begin
    perform pg_advisory_xact_lock(hashtext('mailmart.batches'), hashtext(warehouse));
    loop
        select * into other from batches
        where target = warehouse and status = 'running';
        exit when not found;
        if not is_build_connected(other.invocation_id) then
            looks_without_connection := looks_without_connection + 1;
            exit when looks_without_connection = 50;
        elsif continuous or not other.is_continuous or clock_timestamp() > waits_until then
            raise exception 'build % is running since %', other.batch_id, other.started_at
                using errcode = 'MM001', hint = 'Wait for it to end, or end it, and build again.';
        else
            looks_without_connection := 0;
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
    if continuous then
        select batches.* into published
        from current_publication
        inner join batches using (target, batch_id)
        where current_publication.target = warehouse;
        if
            published.fingerprint is distinct from project_fingerprint
            or exists (
                select from batches
                where
                    batches.target = warehouse
                    and batches.batch_id > published.batch_id
                    and batches.fingerprint is distinct from project_fingerprint
            )
        then
            raise exception 'a whole build is needed: nothing is published yet, or the project has changed since'
                using errcode = 'MM005', hint = 'Run mailmart build.';
        end if;
    end if;
    insert into batches (target, invocation_id, command, fingerprint, is_continuous)
    values (warehouse, build_invocation_id, dbt_command, project_fingerprint, continuous)
    returning batch_id into new_batch_id;
    return new_batch_id;
end
$$;

-- Of continuous builds older than a week, keeps the last one of each day: retention asks what had been built at a time.
create function app.remove_old_continuous_builds(warehouse text)
returns void
language sql
set search_path = app, pg_temp
as $$
    delete from batches
    where
        batches.target = warehouse
        and batches.is_continuous
        and batches.started_at < now() - interval '7 days'
        and exists (
            select from batches as later
            where
                later.target = warehouse
                and later.batch_id > batches.batch_id
                and date_trunc('day', later.started_at, 'UTC') = date_trunc('day', batches.started_at, 'UTC')
        )
        and not exists (select from publications where publications.batch_id = batches.batch_id)
        and not exists (select from model_runs where batches.batch_id in (model_runs.batch_id, model_runs.raw_batch_id))
$$;

-- Publishes a build. A continuous one is not published if a publication was rolled back while it ran.
-- complete_since_batch_id: the earliest build that its rows are of; the data are as of what that one has read.
-- contract: what the API may show; stored, so that a manifest that is newer than the database breaks nothing. Null: that of the
-- publication before, for a continuous build.
create or replace function app.publish_batch(published_batch_id bigint, complete_since_batch_id bigint, contract json)
returns void
language plpgsql
set search_path = app, pg_temp
as $$
declare
    published batches;
begin
    select * into strict published from batches
    where batch_id = published_batch_id;
    -- waits for a rollback, and keeps out the next one
    perform from current_publication
    where target = published.target
    for update;
    if published.is_continuous and is_rolled_back(published.target) then
        update batches
        set status = 'built'
        where batch_id = published_batch_id;
        delete from batch_nodes
        where batch_id = published_batch_id;
        return;
    end if;
    insert into publications (target, batch_id, data_as_of, contract)
    select
        published.target,
        published.batch_id,
        coalesce(batches.complete_until, batches.started_at),
        coalesce(publish_batch.contract, previous.contract)
    from batches
    left join current_publication on current_publication.target = published.target
    left join publications as previous
        on current_publication.target = previous.target and current_publication.batch_id = previous.batch_id
    where batches.batch_id = complete_since_batch_id;
    insert into current_publication (target, batch_id)
    values (published.target, published.batch_id)
    on conflict (target) do update set batch_id = excluded.batch_id, changed_at = clock_timestamp();
    delete from batch_nodes
    where batch_id in (select batches.batch_id from batches where batches.target = published.target);
    perform remove_old_continuous_builds(published.target);
end
$$;

-- Analyzes a table whose statistics are of another size: it was empty or small when it was analyzed, or never was. CREATE INDEX writes
-- the size, too, so a table with rows and without statistics of its columns is analyzed as well. The next statement is planned before
-- autovacuum would come. Waits three seconds for a lock: autovacuum gives way after one, and if a VACUUM of an administrator does not,
-- the build goes on.
create or replace function app.analyze_if_changed(relation regclass)
returns boolean
language plpgsql
set search_path = app, pg_temp
set lock_timeout = '3s'
as $$
declare
    pages constant bigint := pg_relation_size(relation) / current_setting('block_size')::bigint;
    analyzed record;
begin
    select
        pg_class.relpages,
        pg_class.reltuples,
        pg_class.reltuples <= 0 or exists (
            select from pg_stats
            where
                pg_stats.schemaname = pg_class.relnamespace::regnamespace::name
                and pg_stats.tablename = pg_class.relname
        ) as has_statistics
    into analyzed from pg_class
    where pg_class.oid = relation;
    if
        analyzed.reltuples >= 0
        and analyzed.has_statistics
        and abs(pages - analyzed.relpages) <= 8 + analyzed.relpages / 10
    then
        return false;
    end if;
    execute format('analyze %s', relation);
    return true;
exception
    when lock_not_available then return false;
end
$$;

revoke execute on function app.app_tables_hash() from public;
revoke execute on function app.is_rolled_back(text) from public;
revoke execute on function app.remove_old_continuous_builds(text) from public;
revoke execute on function app.oldest_unpublished_row(text) from public;
revoke execute on function app.look_for_news(text) from public;
revoke execute on function app.begin_batch(text, text, text, text, bigint, boolean) from public;
grant execute on function app.oldest_unpublished_row(text) to mailmart_api, mailmart_worker;

reset role;
