-- depends: 0004_batches
set local role mailmart_owner;

-- A key is shown once, when it is made; here is only its SHA-256 (a key has 256 random bits: no salt, no stretching).
create table app.api_keys (
    key_id text primary key,
    key_hash bytea not null,
    workspace_id text not null check (workspace_id <> ''),
    name text not null,
    scopes text[] not null default array['read'] check (scopes <@ array['read', 'export', 'reports']),
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);

grant select (key_id, key_hash, workspace_id, scopes, expires_at, revoked_at) on app.api_keys to mailmart_api;
grant update (last_used_at) on app.api_keys to mailmart_api;

reset role;
