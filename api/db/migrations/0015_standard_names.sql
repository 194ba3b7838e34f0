-- depends: 0012_exports_in_turn 0013_reports_that_fail 0014_served_views

-- Names that people of this field search for. Nothing but names changes: data, publications and what is served stay.
set local role mailmart_owner;

alter table app.publication rename to current_publication;
alter table app.model_batches rename to model_runs;
alter table app.model_runs rename column landed_through to loaded_until;
alter table app.model_runs rename column rows_opened to rows_inserted;
alter table app.model_runs rename column rows_closed to rows_expired;
alter table app.batches rename column note to failure_summary;
alter table app.nightly_runs rename column tries to attempts;
alter table app.nightly_runs rename column is_by_hand to is_manual;
alter table app.nightly_runs rename constraint nightly_runs_tries_check to nightly_runs_attempts_check;

comment on column app.batches.failure_summary is 'What failed, one line each; or how the build died.';
comment on column app.nightly_runs.attempts is 'Builds that were started for it, also those that a killed scheduler left.';

-- Every warehouse in this database: production's schema core, and the developers' behind their prefixes.
do $$
declare
    fact record;
    object record;
begin
    for fact in
        select tables.table_schema as schema_name, tables.table_name as name
        from information_schema.tables
        where
            (tables.table_schema = 'core' or tables.table_schema like '%\_core')
            and tables.table_name = 'fct_set_aside_events'
    loop
        execute format('alter table %I.%I rename column landing_id to rejected_event_id', fact.schema_name, fact.name);
        execute format(
            'update %I.%I set problem = case problem when ''other_content'' then ''conflicting_duplicate'''
            || ' else ''future_timestamp'' end where problem in (''other_content'', ''from_the_future'')',
            fact.schema_name, fact.name
        );
        for object in
            select indexname as name from pg_indexes where schemaname = fact.schema_name and tablename = fact.name
        loop
            execute format(
                'alter index %I.%I rename to %I',
                fact.schema_name, object.name, replace(object.name, 'fct_set_aside_events', 'fct_rejected_events')
            );
        end loop;
        execute format('alter table %I.%I rename to fct_rejected_events', fact.schema_name, fact.name);
    end loop;
    for object in
        select
            schemaname as schema_name,
            indexname as name,
            regexp_replace(
                regexp_replace(regexp_replace(indexname, '_standing$', '_current'), '_opened$', '_inserted'), '_closed$', '_expired'
            ) as new_name
        from pg_indexes
        where (schemaname = 'core' or schemaname like '%\_core') and indexname ~ '_(standing|opened|closed)$'
    loop
        execute format('alter index %I.%I rename to %I', object.schema_name, object.name, object.new_name);
    end loop;
    for object in
        select
            schemaname as schema_name,
            tablename as table_name,
            policyname as name,
            case policyname
                when 'one_workspace' then 'tenant_isolation'
                when 'every_workspace' then 'all_tenants'
                else 'public_read'
            end as new_name
        from pg_policies
        where
            (schemaname in ('app', 'core') or schemaname like '%\_core')
            and policyname in ('one_workspace', 'every_workspace', 'everybody')
    loop
        execute format(
            'alter policy %I on %I.%I rename to %I', object.name, object.schema_name, object.table_name, object.new_name
        );
    end loop;
end
$$;

update app.model_runs set model = 'fct_rejected_events' where model = 'fct_set_aside_events';

-- The contracts of the publications that can be served, under the new keys of config.meta. The order of the keys is kept: it is the
-- order of the responses.
create function pg_temp.with_new_keys(old json, path text) returns json
language plpgsql
as $$
declare
    new_keys jsonb := case
        when path ~ '^/exposures/[^/]+/config/meta/endpoint/response/item$'
            then '{"row": "object", "rows": "list", "at": "path", "empty": "on_empty", "none": "not_found_if_rows", "else": "error"}'
        when path ~ '^/exposures/[^/]+/config/meta/export$' then '{"rows": "list"}'
        when path ~ '^/nodes/[^/]+/columns/[^/]+/config/meta$' then '{"in": "group", "as": "alias", "when": "if_param"}'
        else '{}'
    end;
begin
    case json_typeof(old)
        when 'object' then
            return coalesce(
                (
                    select
                        json_object_agg(
                            coalesce(new_keys ->> entries.key, entries.key),
                            pg_temp.with_new_keys(entries.item, path || '/' || entries.key)
                            order by entries.place
                        )
                    from json_each(old) with ordinality as entries (key, item, place)
                ),
                '{}'
            );
        when 'array' then
            return coalesce(
                (
                    select json_agg(pg_temp.with_new_keys(entries.item, path || '/item') order by entries.place)
                    from json_array_elements(old) with ordinality as entries (item, place)
                ),
                '[]'
            );
        else
            return old;
    end case;
end
$$;

update app.publications set contract = pg_temp.with_new_keys(contract, '');

drop function pg_temp.with_new_keys(json, text);

reset role;
