-- depends: 0111_recipient_domains

set local role mailmart_owner;

alter table app.batches add column core_version int;

comment on column app.batches.core_version is
'The oldest version of core (macro core_versions) that rows of the build are of: those before a backfill keep theirs. Null if unknown.';

-- Records by which version of core the rows are computed after this build, and returns it: this one if it computes all rows, or the
-- one after the last publication. Null if that was built before versions were recorded.
-- first_table: a table of core that has rows if any build has written mail. Null if it does not exist yet.
create function app.record_core_version(
    of_batch_id bigint, current_version int, recomputes boolean, first_table regclass
)
returns int
language plpgsql
set search_path = app, pg_temp
as $$
declare
    computes_all boolean := recomputes;
    recorded int;
begin
    if not computes_all and first_table is not null then
        execute format('select not exists (select 1 from %s)', first_table) into computes_all;
    end if;
    update batches
    set core_version = case
        when computes_all or first_table is null then current_version
        else (
            -- without a publication: the first build has written the oldest rows
            select earlier.core_version
            from batches as earlier
            where earlier.target = batches.target and earlier.batch_id < batches.batch_id
            order by
                earlier.status = 'published' desc,
                case when earlier.status = 'published' then earlier.batch_id end desc,
                earlier.batch_id
            limit 1
        )
    end
    where batch_id = of_batch_id
    returning core_version into recorded;
    return recorded;
end
$$;

revoke execute on function app.record_core_version(bigint, int, boolean, regclass) from public;

reset role;
