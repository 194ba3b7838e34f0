-- depends: 0011_installation

-- The views that publications serve, each mart's under a name of its definition.
create schema if not exists marts_served authorization mailmart_owner;
grant usage on schema marts_served to mailmart_api, mailmart_worker, mailmart_analyst;
