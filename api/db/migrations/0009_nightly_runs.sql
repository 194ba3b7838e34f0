-- depends: 0008_exports
set local role mailmart_owner;

-- What a build was made from, and what it went on with, for dbt retry (macros/versions/passed.sql).
alter table app.batches add column fingerprint text;
alter table app.batches add column continues bigint references app.batches;

comment on column app.batches.fingerprint is 'A hash of the project and its variables.';
comment on column app.batches.continues is 'The failed build whose passed nodes count in this one; its data are as of that one''s start.';
comment on column app.batches.note is 'What failed, a line each; or how a build died.';

-- The nodes that ran in builds that failed; gone with the next publication.
create table app.batch_nodes (
    batch_id bigint not null references app.batches,
    node_id text not null,
    has_passed boolean not null,
    primary key (batch_id, node_id)
);

-- One row a night, so there is one run a night, whatever number of schedulers there are; and one a run by hand. Whoever runs
-- holds an advisory lock: a row that is running while nobody holds it is of a process that died (api/builds/nightly.py).
create table app.nightly_runs (
    target text not null,
    scheduled_for timestamptz not null,
    is_by_hand boolean not null default false,
    status text not null default 'running' check (status in ('running', 'succeeded', 'failed')),
    tries smallint not null default 0 check (tries between 0 and 3),
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    batch_id bigint references app.batches,
    error text,
    primary key (target, scheduled_for),
    check ((status = 'running') = (ended_at is null))
);

comment on column app.nightly_runs.scheduled_for is 'The moment at which it was due; of a run by hand, when it was asked for.';
comment on column app.nightly_runs.tries is 'Builds that were started for it, also those that a killed scheduler left.';
comment on column app.nightly_runs.batch_id is 'Its last build that took a number.';
comment on column app.nightly_runs.error is 'Why its last try failed: the nodes that did and what they said, or the end of what dbt said.';

grant select, insert, update on app.nightly_runs to mailmart_worker;
grant select on app.nightly_runs to mailmart_api;

reset role;
