-- depends: 0118_core_versions

-- Queries by campaign and hour, or by campaign and day of a time zone, read the slots of all campaigns of a window. With the index by
-- campaign alone, they read those of all times, in an order in which each is on a page of its own. Every warehouse in this database:
-- production's schema core, and the developers' behind their prefixes.
set local role mailmart_owner;

do $$
declare
    fact record;
begin
    -- on Citus, of the tables on the nodes
    perform app.propagate_ddl(true);
    for fact in
        select pg_class.oid::regclass as name
        from pg_class
        inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
        where
            (pg_namespace.nspname = 'core' or pg_namespace.nspname like '%\_core')
            and pg_class.relname = 'fct_send_slots'
            and pg_class.relkind in ('r', 'p')
    loop
        execute format('create index on %s (workspace_id, slot_at)', fact.name);
    end loop;
    perform app.propagate_ddl(false);
end
$$;

reset role;
