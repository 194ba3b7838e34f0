-- depends: 0043_webhook_sources 0046_continuous_builds

-- What GET /analytics/sources shows of sources while bodies arrive: counts by day, why the last body was rejected, and rights to read
-- both, each role as much as it reads of core. Bodies are not counted in raw.webhook_payloads, which can have 100 million rows, and loses
-- them after 30 days.
set local role mailmart_owner;

alter table app.webhook_sources add column last_rejection text;
comment on column app.webhook_sources.last_rejection is 'Why the last of the rejected bodies could not be read.';

create table app.webhook_source_days (
    source_id text not null references app.webhook_sources on delete cascade,
    day date not null,
    workspace_id text not null,
    bodies bigint not null,
    rejected bigint not null,
    signature_failures bigint not null,
    primary key (source_id, day)
);

create index webhook_source_days_workspace_id_day on app.webhook_source_days (workspace_id, day);
create index webhook_sources_workspace_id on app.webhook_sources (workspace_id);
comment on table app.webhook_source_days is
'One row per source and day (UTC) on which it received anything. The counts are those of app.webhook_sources.';

alter table app.webhook_sources enable row level security;
alter table app.webhook_source_days enable row level security;
create policy tenant_isolation on app.webhook_sources for select to mailmart_api, mailmart_worker
using (workspace_id = (select nullif(current_setting('mailmart.workspace_id', true), '')));
create policy tenant_isolation on app.webhook_source_days for select to mailmart_api, mailmart_worker
using (workspace_id = (select nullif(current_setting('mailmart.workspace_id', true), '')));
create policy all_tenants on app.webhook_sources for select to mailmart_analyst using (true);
create policy all_tenants on app.webhook_source_days for select to mailmart_analyst using (true);
create policy analyst_workspace on app.webhook_sources for select to mailmart_workspace_analyst
using (workspace_id = (select app.analyst_workspace_id()));
create policy analyst_workspace on app.webhook_source_days for select to mailmart_workspace_analyst
using (workspace_id = (select app.analyst_workspace_id()));

grant select (
    source_id, workspace_id, provider, name, created_at, revoked_at,
    last_body_at, last_rejected_at, last_rejection, last_signature_failure_at, last_signature_failure
) on app.webhook_sources
to mailmart_api, mailmart_worker, mailmart_analyst, mailmart_workspace_analyst;
grant select on app.webhook_source_days
to mailmart_api, mailmart_worker, mailmart_analyst, mailmart_workspace_analyst;

-- Whether a source has a signing secret. The roles that ask cannot read secrets, not even which sources have one.
create function app.is_webhook_source_signed(id_of_source text)
returns boolean
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select exists (
        select from app.webhook_source_secrets as secrets
        where
            secrets.source_id = id_of_source
            and (secrets.valid_until is null or secrets.valid_until > clock_timestamp())
    );
end;

-- Adds to the counts of sources. Rows are locked in one order, because several processes count. `new_rejection` is why the last of the
-- rejected bodies was.
create function app.count_webhook_bodies(
    counted_ids text[],
    new_bodies bigint[],
    new_rejected bigint[],
    new_failures bigint[],
    new_failure text[],
    new_rejection text[]
)
returns void
language plpgsql security definer
set search_path = app, pg_temp
as $$
declare
    -- one time, so that what was counted together is not in an order
    counted_at timestamptz;
begin
    perform from webhook_sources
    where webhook_sources.source_id = any(counted_ids)
    order by webhook_sources.source_id
    for update;
    counted_at := clock_timestamp();
    update webhook_sources
    set
        bodies = webhook_sources.bodies + counts.bodies,
        rejected = webhook_sources.rejected + counts.rejected,
        signature_failures = webhook_sources.signature_failures + counts.failures,
        last_body_at = case when counts.bodies > 0 then counted_at else webhook_sources.last_body_at end,
        last_rejected_at = case when counts.rejected > 0 then counted_at else webhook_sources.last_rejected_at end,
        last_rejection = case when counts.rejected > 0 then left(counts.rejection, 500) else webhook_sources.last_rejection end,
        last_signature_failure_at =
            case when counts.failures > 0 then counted_at else webhook_sources.last_signature_failure_at end,
        last_signature_failure =
            case when counts.failures > 0 then left(counts.failure, 500) else webhook_sources.last_signature_failure end
    from unnest(counted_ids, new_bodies, new_rejected, new_failures, new_failure, new_rejection)
        as counts (source_id, bodies, rejected, failures, failure, rejection)
    where webhook_sources.source_id = counts.source_id;
    insert into webhook_source_days as days (source_id, day, workspace_id, bodies, rejected, signature_failures)
    select
        webhook_sources.source_id,
        (counted_at at time zone 'UTC')::date,
        webhook_sources.workspace_id,
        counts.bodies,
        counts.rejected,
        counts.failures
    from unnest(counted_ids, new_bodies, new_rejected, new_failures) as counts (source_id, bodies, rejected, failures)
    inner join webhook_sources on counts.source_id = webhook_sources.source_id
    where counts.bodies > 0 or counts.rejected > 0 or counts.failures > 0
    on conflict (source_id, day) do update
    set
        bodies = days.bodies + excluded.bodies,
        rejected = days.rejected + excluded.rejected,
        signature_failures = days.signature_failures + excluded.signature_failures;
end
$$;

revoke execute on function app.is_webhook_source_signed(text) from public;
revoke execute on function app.count_webhook_bodies(text[], bigint[], bigint[], bigint[], text[], text[]) from public;
grant execute on function app.is_webhook_source_signed(text)
to mailmart_api, mailmart_worker, mailmart_analyst, mailmart_workspace_analyst;
grant execute on function app.count_webhook_bodies(text[], bigint[], bigint[], bigint[], text[], text[]) to mailmart_intake;

reset role;
