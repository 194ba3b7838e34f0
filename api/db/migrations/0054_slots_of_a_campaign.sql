-- depends: 0049_settings_of_builds_and_sources 0051_tags_are_mostly_clean

-- Of fct_send_slots, only the slots of one campaign are read: a heatmap of all campaigns reads fct_workspace_slots or
-- fct_workspace_hours. With the index by workspace and time, the slots of all campaigns were read for it. Every warehouse in this
-- database: production's schema core, and the developers' behind their prefixes.
set local role mailmart_owner;

do $$
declare
    fact record;
    old_index record;
begin
    for fact in
        select pg_class.oid::regclass as name
        from pg_class
        inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
        where
            (pg_namespace.nspname = 'core' or pg_namespace.nspname like '%\_core')
            and pg_class.relname = 'fct_send_slots'
            and pg_class.relkind in ('r', 'p')
    loop
        execute format('create index on %s (workspace_id, campaign_id, slot_at)', fact.name);
        for old_index in
            select pg_index.indexrelid::regclass as name
            from pg_index
            where
                pg_index.indrelid = fact.name
                and not pg_index.indisunique
                and pg_index.indpred is null
                and array(
                    select pg_attribute.attname::text
                    from unnest(pg_index.indkey::int2[]) with ordinality as keys (number, place)
                    inner join pg_attribute
                        on pg_attribute.attrelid = pg_index.indrelid and pg_attribute.attnum = keys.number
                    order by keys.place
                ) = array['workspace_id', 'slot_at']
        loop
            execute format('drop index %s', old_index.name);
        end loop;
    end loop;
end
$$;

reset role;
