-- depends: 0011_installation
set local role mailmart_owner;

-- A report whose run cannot even be begun is tried again for an hour, after all others; then it has a run that failed.
alter table app.reports add column failing_since timestamptz;

comment on column app.reports.failing_since is 'Since when its run, which is due, cannot be begun; null while nothing is wrong.';

-- Runs of long ago are found, and removed, a few at a time.
create index report_runs_ended on app.report_runs (ended_at);

reset role;
