-- depends: 0007_books_for_analysts
set local role mailmart_owner;

-- One id an installation, whatever number of machines serve out of this database: what telemetry is sent under. It is random,
-- and says nothing of whose the installation is.
create table app.installation (
    is_only boolean primary key default true check (is_only),
    installation_id uuid not null default gen_random_uuid()
);

insert into app.installation default values;

grant select on app.installation to mailmart_api, mailmart_worker;

reset role;
