-- depends: 0003_addresses
set local role mailmart_owner;

-- One row a build. `target` tells the warehouse from the developers' own: 'production', or a schema prefix.
create table app.batches (
    batch_id bigint generated always as identity (start with 1) primary key,
    target text not null,
    invocation_id text not null unique,
    command text not null,
    status text not null default 'running'
    check (status in ('running', 'published', 'built', 'failed', 'abandoned')),
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    note text
);

comment on table app.batches is
'One row a build: running; published (all passed); built (passed, but not everything was selected); failed; abandoned (died, found by the next build).';

-- at most one build of a target at a time
create unique index batches_running on app.batches (target) where status = 'running';

-- What each model has taken in: written in the model's own transaction, so it is never ahead of its rows.
create table app.model_batches (
    target text not null,
    model text not null,
    batch_id bigint not null,
    landed_through timestamptz,
    rows_opened bigint,
    rows_closed bigint,
    started_at timestamptz not null,
    ended_at timestamptz not null default clock_timestamp(),
    primary key (target, model, batch_id)
);

-- The publications whose rows are still there, so that one can go back. Going back withdraws the one that was served.
create table app.publications (
    target text not null,
    batch_id bigint not null references app.batches,
    data_as_of timestamptz not null,
    -- json, not jsonb: the columns' order is the responses'
    contract json not null,
    published_at timestamptz not null default clock_timestamp(),
    withdrawn_at timestamptz,
    primary key (target, batch_id)
);

-- The one that is served.
create table app.publication (
    target text primary key,
    batch_id bigint not null,
    changed_at timestamptz not null default clock_timestamp(),
    foreign key (target, batch_id) references app.publications
);

grant select on app.publication, app.publications, app.batches to mailmart_api, mailmart_worker;

reset role;
