-- depends: 0008_exports
set local role mailmart_owner;

-- One row a report: an export that is asked for again and again, and whom it is sent to.
create table app.reports (
    report_id text primary key,
    workspace_id text not null check (workspace_id <> ''),
    name text not null check (name <> ''),
    request jsonb not null,
    frequency text not null check (frequency in ('daily', 'weekly', 'monthly')),
    run_at time not null,
    timezone text not null,
    weekday text,
    day_of_month smallint check (day_of_month between 1 and 31),
    recipients text[] not null default '{}' check (cardinality(recipients) <= 20),
    webhook_url text,
    webhook_secret text,
    webhook_old_secret text,
    webhook_old_secret_until timestamptz,
    webhook_failures integer not null default 0,
    webhook_disabled_at timestamptz,
    is_enabled boolean not null default true,
    next_run_at timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    check ((frequency = 'weekly') = (weekday is not null)),
    check ((frequency = 'monthly') = (day_of_month is not null)),
    check ((webhook_url is null) = (webhook_secret is null)),
    check (is_enabled = (next_run_at is not null))
);

comment on column app.reports.request is 'The body of an export, with a relative window.';
comment on column app.reports.webhook_failures is 'Runs in a row whose webhook never came through.';
comment on column app.reports.webhook_disabled_at is 'When it was turned off, after too many of them; null while it is on.';
comment on column app.reports.webhook_old_secret is 'The one before the last rotation: signs beside the new one for a day.';

create index reports_by_workspace on app.reports (workspace_id, created_at desc, report_id desc);
create index reports_due on app.reports (next_run_at) where is_enabled;

-- An old secret is good for a day, so that a receiver can change over. It is not the API's to read.
create function app.keep_old_secret() returns trigger
language plpgsql
as $$
begin
    if new.webhook_secret is null then
        new.webhook_old_secret := null;
        new.webhook_old_secret_until := null;
    elsif old.webhook_secret is not null and new.webhook_secret <> old.webhook_secret then
        new.webhook_old_secret := old.webhook_secret;
        new.webhook_old_secret_until := clock_timestamp() + interval '1 day';
    end if;
    return new;
end
$$;

create trigger keep_old_secret before update of webhook_secret on app.reports
for each row execute function app.keep_old_secret();

-- One row a run. A run that was made is made, whatever becomes of its export.
create table app.report_runs (
    run_id text primary key,
    report_id text not null references app.reports on delete cascade,
    workspace_id text not null,
    scheduled_for timestamptz not null,
    export_id text,
    status text not null default 'processing' check (status in ('processing', 'delivering', 'completed', 'failed')),
    error text,
    created_at timestamptz not null default clock_timestamp(),
    exported_at timestamptz,
    ended_at timestamptz,
    unique (report_id, scheduled_for)
);

comment on column app.report_runs.status is
'processing: its export is written; delivering: it is sent; completed: all of it reached all; failed: the error says what did not.';
comment on column app.report_runs.exported_at is 'When its export ended.';

create index report_runs_by_export on app.report_runs (export_id);
create index report_runs_open on app.report_runs (created_at) where status in ('processing', 'delivering');

-- One row for each that a run is sent to.
create table app.report_deliveries (
    run_id text not null references app.report_runs on delete cascade,
    channel text not null check (channel in ('email', 'webhook')),
    target text not null,
    workspace_id text not null,
    status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
    attempts integer not null default 0,
    not_before timestamptz not null default clock_timestamp(),
    job_id bigint,
    error text,
    ended_at timestamptz,
    primary key (run_id, channel, target)
);

comment on column app.report_deliveries.attempts is 'How often it was begun.';
comment on column app.report_deliveries.not_before is 'Until then nobody else begins: the next attempt''s time, or the longest that the present one can last.';

create index report_deliveries_pending on app.report_deliveries (workspace_id, not_before) where status = 'pending';

alter table app.reports enable row level security;
alter table app.report_runs enable row level security;
alter table app.report_deliveries enable row level security;
create policy one_workspace on app.reports to mailmart_api
using (workspace_id = (select nullif(current_setting('mailmart.workspace_id', true), '')))
with check (workspace_id = (select nullif(current_setting('mailmart.workspace_id', true), '')));
create policy one_workspace on app.report_runs for select to mailmart_api
using (workspace_id = (select nullif(current_setting('mailmart.workspace_id', true), '')));
create policy one_workspace on app.report_deliveries for select to mailmart_api
using (workspace_id = (select nullif(current_setting('mailmart.workspace_id', true), '')));
create policy every_workspace on app.reports to mailmart_worker using (true) with check (true);
create policy every_workspace on app.report_runs to mailmart_worker using (true) with check (true);
create policy every_workspace on app.report_deliveries to mailmart_worker using (true) with check (true);

-- the API writes a secret, and never reads one
grant select (
    report_id, workspace_id, name, request, frequency, run_at, timezone, weekday, day_of_month, recipients, webhook_url,
    webhook_failures, webhook_disabled_at, is_enabled, next_run_at, created_at, updated_at
) on app.reports to mailmart_api;
grant insert (
    report_id, workspace_id, name, request, frequency, run_at, timezone, weekday, day_of_month, recipients, webhook_url,
    webhook_secret, is_enabled, next_run_at
) on app.reports to mailmart_api;
grant update (
    name, request, frequency, run_at, timezone, weekday, day_of_month, recipients, webhook_url, webhook_secret,
    webhook_failures, webhook_disabled_at, is_enabled, next_run_at, updated_at
) on app.reports to mailmart_api;
grant delete on app.reports to mailmart_api;
grant select on app.report_runs, app.report_deliveries to mailmart_api;
grant select, update on app.reports to mailmart_worker;
grant select, insert, update, delete on app.report_runs, app.report_deliveries to mailmart_worker;

-- Gives a delivery that is pending its next job, so many seconds from now, in the caller's transaction. The more of a workspace's
-- are waiting, the later it comes: receivers that are slow keep the workspace's own waiting, and no other's.
create function app.defer_delivery(of_run text, by_channel text, to_target text, seconds double precision)
returns void
language plpgsql security definer
set search_path = app, procrastinate, pg_temp
as $$
declare
    waiting integer;
begin
    select count(*) into waiting
    from report_deliveries as deliveries
    inner join report_runs as runs on deliveries.workspace_id = runs.workspace_id
    where
        runs.run_id = of_run
        and deliveries.status = 'pending'
        and deliveries.job_id is not null
        and deliveries.not_before <= clock_timestamp()
        and (deliveries.run_id, deliveries.channel, deliveries.target) <> (of_run, by_channel, to_target);
    update report_deliveries
    set
        job_id = (
            procrastinate_defer_jobs_v1(
                array[
                    (
                        'deliveries', 'deliver', -waiting, null, null,
                        jsonb_build_object('run_id', of_run, 'channel', by_channel, 'target', to_target),
                        clock_timestamp() + make_interval(secs => seconds)
                    )::procrastinate_job_to_defer_v1
                ]
            )
        )[1]
    where run_id = of_run and channel = by_channel and target = to_target and status = 'pending';
end
$$;

revoke execute on function app.defer_delivery(text, text, text, double precision) from public;
grant execute on function app.defer_delivery(text, text, text, double precision) to mailmart_worker;

reset role;
