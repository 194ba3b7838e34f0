-- depends: 0118_core_versions

set local role mailmart_owner;

comment on column app.batches.system_identifier is
'The database system that counted the snapshot''s transactions; null if it is another one whose identifier was not known.';

-- Gives rows of another database system, which pg_restore has brought here, an id of this one. A row that can be seen and whose id
-- is not assigned yet is such a row: it would be in no snapshot until this system has counted that far.
-- If the identifier of the system is hidden, a restored database seems to be where it was. But a snapshot that is ahead of this
-- system's ids is of another system: then everything is read again, or new rows would count as read.
create or replace function app.adopt_restored_rows()
returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    next_xid constant xid8 := pg_snapshot_xmax(pg_current_snapshot());
    raw_log regclass;
    adopted bigint;
    total bigint := 0;
begin
    if exists (
        select from batches
        where
            batches.system_identifier = system_identifier()
            and pg_snapshot_xmax(batches.raw_snapshot) > next_xid
    ) then
        update batches
        set system_identifier = null
        where batches.system_identifier = system_identifier();
    end if;
    for raw_log in select raw_logs() loop
        execute format(
            'update %s set loaded_xid = pg_current_xact_id() where loaded_xid >= $1', raw_log
        ) using next_xid;
        get diagnostics adopted = row_count;
        total := total + adopted;
    end loop;
    return total;
end
$$;

-- Whether a text may name the person: cheaply, and never no if it does. It is called for each row of the raw logs and of core. As an
-- expression it is inlined, and the parts of base64, which are plain texts, are looked for as such: a regular expression with a few
-- alternatives took ten times as long.
create or replace function app.may_be_mentioned(content text, person jsonb) returns boolean
language sql immutable parallel safe
return strpos(lower(content), person ->> 'needle') > 0
    or content like any(
        string_to_array(
            '%' || replace(replace(replace(person ->> 'encodings', '\', ''), '_', '\_'), '|', '%|%') || '%', '|'
        )
    );

reset role;
