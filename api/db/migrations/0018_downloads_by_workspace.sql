-- depends: 0017_job_queue_functions
set local role mailmart_owner;

-- The file of an export, for the holder of a link to it; no row once it is removed. The workspace is for the limit of downloads.
drop function app.find_export_file(text);
create function app.find_export_file(wanted_export_id text)
returns table (
    workspace_id text,
    storage_key text,
    export_type text,
    format text,
    file_size_bytes bigint,
    sha256 text,
    file_expires_at timestamptz
)
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        exports.workspace_id,
        exports.storage_key,
        exports.export_type,
        exports.format,
        exports.file_size_bytes,
        exports.sha256,
        exports.file_expires_at
    from app.exports
    where exports.export_id = wanted_export_id and exports.status = 'completed' and exports.removed_at is null;
end;

revoke execute on function app.find_export_file(text) from public;
grant execute on function app.find_export_file(text) to mailmart_api;

reset role;
