-- depends: 0071_timescale

-- A nightly build leaves out the views if none has changed since it was built, by the project or by hand. SQLSTATE MM005: one may have,
-- and a whole build is needed.
set local role mailmart_owner;

-- What a view is: its id and the version of its rule in the catalog, which CREATE OR REPLACE and a restore into another database change,
-- its columns, options and owner, and what our roles may do. Null without such a view. What others were granted is theirs: building the
-- view anew would take it away.
create function app.view_state(view_schema text, view_name text)
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select concat_ws(
        ' ',
        pg_class.oid,
        pg_rewrite.oid,
        pg_rewrite.xmin,
        pg_class.reloptions,
        pg_class.relowner,
        (
            select string_agg(pg_attribute.attname, ',' order by pg_attribute.attnum) from pg_attribute
            where pg_attribute.attrelid = pg_class.oid and pg_attribute.attnum > 0
        ),
        (
            select string_agg(format('%s:%s', roles.rolname, acl.privilege_type), ',' order by roles.rolname, acl.privilege_type)
            from aclexplode(pg_class.relacl) as acl
            inner join pg_roles as roles on acl.grantee = roles.oid
            where roles.rolname in (
                'mailmart_owner', 'mailmart_api', 'mailmart_worker', 'mailmart_intake', 'mailmart_analyst', 'mailmart_workspace_analyst'
            )
        )
    )
    from pg_class
    inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
    inner join pg_rewrite on pg_class.oid = pg_rewrite.ev_class
    where pg_namespace.nspname = view_schema and pg_class.relname = view_name and pg_class.relkind = 'v'
$$;

alter table app.view_definitions add column state text;
update app.view_definitions set state = app.view_state(view_schema, view_name);

comment on column app.view_definitions.state is 'app.view_state() when dbt had built the view.';

-- Refuses a build that leaves out the views (`schema.name` each), unless every whole build since the last one that was published is of the
-- same project, and the catalog has each view, and for a mart the one that publications serve, as it was built. To be called in the
-- transaction of begin_batch(), before it: no other build can begin in between.
create function app.require_kept_views(
    warehouse text, project_fingerprint text, views text[], marts_schema text, served_schema text
)
returns void
language plpgsql
set search_path = app, pg_temp
as $$
declare
    published_batch_id bigint;
begin
    perform pg_advisory_xact_lock(hashtext('mailmart.batches'), hashtext(warehouse));
    select max(batch_id) into published_batch_id from batches
    where target = warehouse and status = 'published' and not is_continuous;
    if
        published_batch_id is null
        or exists (
            select from batches
            where
                batches.target = warehouse
                and batches.batch_id >= published_batch_id
                and batches.fingerprint is distinct from project_fingerprint
        )
        or exists (
            select from unnest(views) as expected (name)
            left join view_definitions as built on expected.name = built.view_schema || '.' || built.view_name
            where
                built.state is distinct from view_state(built.view_schema, built.view_name)
                or built.state is null
                or (
                    built.view_schema = marts_schema
                    -- the name of macros/versioning/served_views.sql
                    and view_state(served_schema, left(built.view_name, 49) || '__' || left(built.definition, 12)) is null
                )
        )
    then
        raise exception 'a whole build is needed: the project or a view has changed since the last one'
            using errcode = 'MM005', hint = 'Run mailmart build.';
    end if;
end
$$;

revoke execute on function app.view_state(text, text) from public;
revoke execute on function app.require_kept_views(text, text, text[], text, text) from public;

reset role;
