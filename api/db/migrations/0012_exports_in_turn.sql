-- depends: 0008_exports
set local role mailmart_owner;

-- A workspace's exports are taken up in the order in which they were asked for. By what waits alone, one that is asked for when
-- the first have ended went before those that wait.
create or replace function app.request_export(
    new_export_id text,
    wanted_type text,
    wanted_format text,
    given_request jsonb,
    given_resolved jsonb,
    wanted_size bigint,
    given_key text
)
returns app.exports
language plpgsql security definer
set search_path = app, procrastinate, pg_temp
as $$
declare
    named text := nullif(current_setting('mailmart.workspace_id', true), '');
    made app.exports;
    seconds double precision;
    ahead double precision;
    turn integer;
begin
    if named is null then
        raise exception 'no workspace is named: mailmart.workspace_id is not set';
    end if;
    -- two requests with one key come one after the other, and so do two that count what is waiting
    perform pg_advisory_xact_lock(hashtext('mailmart.exports'), hashtext(named));
    -- by its id: the one that asks again because its connection died
    select * into made from exports
    where workspace_id = named and (idempotency_key = given_key or export_id = new_export_id);
    if found then
        return made;
    end if;
    select least(-count(*), min(priority)) into turn from exports where workspace_id = named and status = 'processing';
    seconds := estimated_export_seconds(wanted_type, wanted_format, wanted_size);
    select
        coalesce(sum(estimated_seconds), 0)
        / greatest((select count(*) from procrastinate_workers where last_heartbeat > now() - interval '30 seconds'), 1)
    into ahead
    from exports
    where status = 'processing' and priority >= turn;
    insert into exports (
        export_id, workspace_id, export_type, format, request, resolved, idempotency_key, size, priority,
        estimated_seconds, estimated_completion
    )
    values (
        new_export_id, named, wanted_type, wanted_format, given_request, given_resolved, given_key, wanted_size, turn,
        seconds, clock_timestamp() + make_interval(secs => ahead + seconds)
    )
    returning * into made;
    update exports
    set job_id = (
        procrastinate_defer_jobs_v1(
            array[
                (
                    'exports', 'export', made.priority, null, null,
                    jsonb_build_object('export_id', made.export_id), null
                )::procrastinate_job_to_defer_v1
            ]
        )
    )[1]
    where export_id = made.export_id
    returning * into made;
    return made;
end
$$;

alter table app.exports add column ended_by text;
comment on column app.exports.ended_by is 'The request that canceled or removed it: sent again, it does nothing more.';

-- Ends an export of the workspace that the transaction names. One that is processing is canceled, and stays to be seen; any
-- other is removed with its file. Null where there is none. Whoever asks again under the same name, because the connection died
-- before the answer, is told what was done.
drop function app.cancel_or_remove_export(text);
create function app.cancel_or_remove_export(unwanted text, asked_by text default null)
returns text
language plpgsql security definer
set search_path = app, procrastinate, pg_temp
as $$
declare
    named text := nullif(current_setting('mailmart.workspace_id', true), '');
    was app.exports;
begin
    select * into was from exports
    where export_id = unwanted and workspace_id = named
    for update;
    if was.ended_by = asked_by then
        return case when was.removed_at is null then 'canceled' else 'removed' end;
    end if;
    if not found or was.removed_at is not null then
        return null;
    end if;
    if was.status = 'processing' then
        update exports set status = 'canceled', completed_at = clock_timestamp(), ended_by = asked_by where export_id = unwanted;
        delete from procrastinate_jobs where id = was.job_id and status = 'todo';
        return 'canceled';
    end if;
    -- a key that was used for it may be used again
    update exports set removed_at = clock_timestamp(), idempotency_key = null, ended_by = asked_by where export_id = unwanted;
    return 'removed';
end
$$;

revoke execute on function app.cancel_or_remove_export(text, text) from public;
grant execute on function app.cancel_or_remove_export(text, text) to mailmart_api;

reset role;
