-- depends: 0012_exports_in_turn 0013_reports_that_fail 0015_standard_names

-- Four functions are all that knows procrastinate's tables and functions in this schema. They are PL/pgSQL, which looks names up
-- when it runs: on a new database procrastinate's schema is created after these migrations.
set local role mailmart_owner;

-- Adds a job to a queue in the caller's transaction and returns its id. Jobs with a higher priority run first.
create function app.enqueue(
    to_queue text,
    task_name text,
    task_args jsonb,
    job_priority integer default 0,
    run_after timestamptz default null
)
returns bigint
language plpgsql security definer
set search_path = procrastinate, pg_temp
as $$
begin
    return (
        procrastinate_defer_jobs_v1(
            array[
                (to_queue, task_name, job_priority, null, null, task_args, run_after)::procrastinate_job_to_defer_v1
            ]
        )
    )[1];
end
$$;

-- Deletes a job that no worker has started. A running job stays.
create function app.cancel_job(unwanted_job_id bigint)
returns void
language plpgsql security definer
set search_path = procrastinate, pg_temp
as $$
begin
    delete from procrastinate_jobs where id = unwanted_job_id and status = 'todo';
end
$$;

-- Whether a job is in a queue: waiting or running. Jobs are deleted when they end.
create function app.job_exists(wanted_job_id bigint)
returns boolean
language plpgsql stable security definer
set search_path = procrastinate, pg_temp
as $$
begin
    return exists (select from procrastinate_jobs where id = wanted_job_id);
end
$$;

-- Workers with a heartbeat in the last 30 seconds (api.jobs.recovery.HEARTBEAT_TIMEOUT_SECONDS).
create function app.count_live_workers()
returns bigint
language plpgsql stable security definer
set search_path = procrastinate, pg_temp
as $$
begin
    return (select count(*) from procrastinate_workers where last_heartbeat > now() - interval '30 seconds');
end
$$;

revoke execute on function app.enqueue(text, text, jsonb, integer, timestamptz) from public;
revoke execute on function app.cancel_job(bigint) from public;
revoke execute on function app.job_exists(bigint) from public;
revoke execute on function app.count_live_workers() from public;
grant execute on function app.enqueue(text, text, jsonb, integer, timestamptz) to mailmart_worker;
grant execute on function app.job_exists(bigint) to mailmart_worker;
grant execute on function app.count_live_workers() to mailmart_worker;

-- The amount of work has a unit in its name, and the stored request uses the names of the code.
alter table app.exports rename column size to units_total;
alter table app.exports rename column done to units_written;
update app.exports
set
    resolved = (resolved - 'shown' - 'given')
    || jsonb_build_object('response_fields', resolved -> 'shown', 'params', resolved -> 'given')
where resolved ? 'shown';

comment on table app.exports is 'One row per export. Its job is enqueued in the same transaction (app.request_export).';
comment on column app.exports.request is 'The request body.';
comment on column app.exports.resolved is
'The request resolved on the day it was made: the time window, the endpoint''s parameters and the campaigns.';
comment on column app.exports.units_total is
'Amount of work: messages for exports of single messages, otherwise campaigns, or 1 for the whole workspace.';
comment on column app.exports.units_written is 'How many of units_total the current attempt has written.';
comment on column app.exports.priority is
'Priority of its job. It falls with each export that the workspace has in progress, so no workspace blocks another.';
comment on column app.exports.attempts is
'Number of attempts, including the current one. An attempt that a stopping worker releases is not counted.';
comment on column app.exports.attempt_token is
'Token of the current attempt, the only one that may write to this row. It is also part of the storage key.';
comment on column app.exports.row_count is 'Number of rows in the file.';
comment on column app.exports.removed_at is
'When its user removed it. The API no longer shows it, and the next cleanup deletes its file and this row.';
comment on column app.exports.ended_by is
'Id of the request that canceled or removed it. The same request, retried, returns the same result.';
comment on table app.signing_secret is 'The secret of this installation that signs download links. One row.';

comment on table app.reports is 'One row per report: an export that runs on a schedule, and its recipients.';
comment on column app.reports.request is 'The body of an export request, with a relative time range.';
comment on column app.reports.next_run_at is 'When it runs next; null while it is disabled.';
comment on column app.reports.failing_since is
'Since when its due run cannot be started; null if there is no problem. After an hour the run fails.';
comment on column app.reports.webhook_failures is 'Consecutive runs that could not be delivered to the webhook.';
comment on column app.reports.webhook_disabled_at is
'When the webhook was disabled after too many failures; null while it is enabled.';
comment on column app.reports.webhook_old_secret is
'The secret before the last rotation. It signs together with the new one for a day.';
comment on column app.reports.webhook_old_secret_until is 'Until when the old secret signs.';

comment on table app.report_runs is 'One row per run of a report. It stays if its export is removed.';
comment on column app.report_runs.scheduled_for is 'The time of the schedule that this run is for.';
comment on column app.report_runs.status is
'processing: its export is running; delivering: it is being sent; completed: every delivery succeeded; failed: see error.';
comment on column app.report_runs.exported_at is 'When its export ended.';

comment on table app.report_deliveries is 'One row per run and recipient: an e-mail address or a webhook URL.';
comment on column app.report_deliveries.attempts is
'Number of attempts that were started. It is also the token of the current attempt.';
comment on column app.report_deliveries.not_before is
'No attempt starts before this time: the next retry, or the latest time at which the current attempt can still be running.';

-- Seconds that an export is expected to take: linear regression over the last 100 exports of this type and format. If there are
-- too few different sizes for a regression, their mean; null if there are no earlier exports.
drop function app.estimated_export_seconds(text, text, bigint);
create function app.estimate_export_seconds(for_type text, for_format text, for_units bigint)
returns double precision
language sql stable
begin atomic
    with earlier_exports as (
        select
            units_total,
            extract(epoch from completed_at - started_at)::double precision as seconds
        from app.exports
        where
            status in ('completed', 'expired')
            and export_type = for_type
            and format = for_format
        order by completed_at desc
        limit 100
    ),

    regression as (
        select
            regr_intercept(seconds, units_total) + regr_slope(seconds, units_total) * for_units as predicted_seconds,
            avg(seconds) as mean_seconds,
            min(seconds) as min_seconds
        from earlier_exports
    )

    select greatest(coalesce(predicted_seconds, mean_seconds), min_seconds) from regression;
end;

-- Creates an export and its job for the workspace of the transaction. If the export id or the idempotency key is already used,
-- returns that export; the caller compares the requests. Exports of one workspace start in the order of their requests.
drop function app.request_export(text, text, text, jsonb, jsonb, bigint, text);
create function app.request_export(
    new_export_id text,
    new_type text,
    new_format text,
    new_request jsonb,
    new_resolved jsonb,
    new_units_total bigint,
    new_idempotency_key text
)
returns app.exports
language plpgsql security definer
set search_path = app, pg_temp
as $$
declare
    workspace text := nullif(current_setting('mailmart.workspace_id', true), '');
    export app.exports;
    own_seconds double precision;
    queued_seconds double precision;
    new_priority integer;
begin
    if workspace is null then
        raise exception 'mailmart.workspace_id is not set';
    end if;
    -- serializes requests with the same key, and requests that count what the workspace has in progress
    perform pg_advisory_xact_lock(hashtext('mailmart.exports'), hashtext(workspace));
    -- the id matches if a request is retried because its connection died
    select * into export from exports
    where workspace_id = workspace and (idempotency_key = new_idempotency_key or export_id = new_export_id);
    if found then
        return export;
    end if;
    select least(-count(*), min(priority)) into new_priority
    from exports
    where workspace_id = workspace and status = 'processing';
    own_seconds := estimate_export_seconds(new_type, new_format, new_units_total);
    select coalesce(sum(estimated_seconds), 0) / greatest(count_live_workers(), 1) into queued_seconds
    from exports
    where status = 'processing' and priority >= new_priority;
    insert into exports (
        export_id, workspace_id, export_type, format, request, resolved, idempotency_key, units_total, priority,
        estimated_seconds, estimated_completion
    )
    values (
        new_export_id, workspace, new_type, new_format, new_request, new_resolved, new_idempotency_key, new_units_total,
        new_priority, own_seconds, clock_timestamp() + make_interval(secs => queued_seconds + own_seconds)
    );
    update exports
    set job_id = enqueue('exports', 'export', jsonb_build_object('export_id', new_export_id), new_priority)
    where export_id = new_export_id
    returning * into export;
    return export;
end
$$;

-- Ends an export of the workspace of the transaction: cancels it if it is processing, otherwise removes it with its file.
-- Returns 'canceled' or 'removed'; null if there is no such export. A retry with the same request id returns the same result.
drop function app.cancel_or_remove_export(text, text);
create function app.cancel_or_remove_export(unwanted_export_id text, request_id text default null)
returns text
language plpgsql security definer
set search_path = app, pg_temp
as $$
declare
    workspace text := nullif(current_setting('mailmart.workspace_id', true), '');
    export app.exports;
begin
    select * into export from exports
    where export_id = unwanted_export_id and workspace_id = workspace
    for update;
    if export.ended_by = request_id then
        return case when export.removed_at is null then 'canceled' else 'removed' end;
    end if;
    if not found or export.removed_at is not null then
        return null;
    end if;
    if export.status = 'processing' then
        update exports
        set status = 'canceled', completed_at = clock_timestamp(), ended_by = request_id
        where export_id = unwanted_export_id;
        perform cancel_job(export.job_id);
        return 'canceled';
    end if;
    -- its idempotency key can be used again
    update exports
    set removed_at = clock_timestamp(), idempotency_key = null, ended_by = request_id
    where export_id = unwanted_export_id;
    return 'removed';
end
$$;

-- The file of a completed export, for a request with a signed link. No row if the file is expired or removed.
drop function app.file_of_export(text);
create function app.find_export_file(wanted_export_id text)
returns table (storage_key text, export_type text, format text, file_size_bytes bigint, sha256 text, file_expires_at timestamptz)
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        exports.storage_key,
        exports.export_type,
        exports.format,
        exports.file_size_bytes,
        exports.sha256,
        exports.file_expires_at
    from app.exports
    where exports.export_id = wanted_export_id and exports.status = 'completed' and exports.removed_at is null;
end;

-- Enqueues the next attempt of a pending delivery, in the caller's transaction. The more deliveries the workspace has in the
-- queue, the lower the priority: slow receivers delay only the deliveries of their own workspace.
drop function app.defer_delivery(text, text, text, double precision);
create function app.defer_delivery(for_run_id text, for_channel text, for_target text, delay_seconds double precision)
returns void
language plpgsql security definer
set search_path = app, pg_temp
as $$
declare
    queued integer;
begin
    select count(*) into queued
    from report_deliveries as deliveries
    inner join report_runs as runs on deliveries.workspace_id = runs.workspace_id
    where
        runs.run_id = for_run_id
        and deliveries.status = 'pending'
        and deliveries.job_id is not null
        and deliveries.not_before <= clock_timestamp()
        and (deliveries.run_id, deliveries.channel, deliveries.target) <> (for_run_id, for_channel, for_target);
    update report_deliveries
    set
        job_id = enqueue(
            'deliveries',
            'deliver',
            jsonb_build_object('run_id', for_run_id, 'channel', for_channel, 'target', for_target),
            -queued,
            clock_timestamp() + make_interval(secs => delay_seconds)
        )
    where run_id = for_run_id and channel = for_channel and target = for_target and status = 'pending';
end
$$;

revoke execute on function app.estimate_export_seconds(text, text, bigint) from public;
revoke execute on function app.request_export(text, text, text, jsonb, jsonb, bigint, text) from public;
revoke execute on function app.cancel_or_remove_export(text, text) from public;
revoke execute on function app.find_export_file(text) from public;
revoke execute on function app.defer_delivery(text, text, text, double precision) from public;
grant execute on function app.request_export(text, text, text, jsonb, jsonb, bigint, text) to mailmart_api, mailmart_worker;
grant execute on function app.cancel_or_remove_export(text, text) to mailmart_api;
grant execute on function app.find_export_file(text) to mailmart_api;
grant execute on function app.defer_delivery(text, text, text, double precision) to mailmart_worker;

reset role;
