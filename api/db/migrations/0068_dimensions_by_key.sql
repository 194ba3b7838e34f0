-- depends: 0063_exports_of_planned_shares

-- A page of a list looks up its campaigns, mailboxes or domains by their ids, as of a batch; the unique index knows only the current
-- rows, so that each look-up read the whole table. Every warehouse in this database: production's schema core, and the developers'
-- behind their prefixes.
set local role mailmart_owner;

do $$
declare
    dimension record;
begin
    for dimension in
        select
            pg_class.oid::regclass as name,
            dimensions.key
        from pg_class
        inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
        inner join (
            values ('dim_campaigns', 'campaign_id'), ('dim_mailboxes', 'mailbox_id'), ('dim_domains', 'domain_id')
        ) as dimensions (name, key) on pg_class.relname = dimensions.name
        where
            (pg_namespace.nspname = 'core' or pg_namespace.nspname like '%\_core')
            and pg_class.relkind in ('r', 'p')
    loop
        execute format('create index on %s (workspace_id, %I)', dimension.name, dimension.key);
    end loop;
end
$$;

-- An endpoint of campaigns may be an export type, too, and then be of one status.
create or replace function app.export_context_settings() returns text[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return array[
    'mailmart.range_start',
    'mailmart.range_end',
    'mailmart.group_by',
    'mailmart.campaign_id',
    'mailmart.domain_id',
    'mailmart.campaign_status',
    'mailmart.campaign_ids',
    'mailmart.timezone',
    'mailmart.granularity',
    'mailmart.metrics',
    'mailmart.expected_shares'
];

reset role;
