-- depends: 0006_view_definitions
set local role mailmart_owner;

-- marts.freshness reads them as whoever asks
grant usage on schema app to mailmart_analyst;
grant select on app.publications, app.batches to mailmart_analyst;

reset role;
