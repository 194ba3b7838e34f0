-- depends: 0035_native_times
set local role mailmart_owner;

-- A query with a function that is not parallel safe is planned without parallel workers, even for what the function has no part
-- in. Every staging view of webhooks calls this one.
alter function app.slow_payload_ids() parallel safe;

reset role;
