-- depends: 0047_source_days

-- How often continuous builds are configured to run: when data are late depends on it. And whether a revoked source was signed: its
-- secrets are deleted.
set local role mailmart_owner;

alter table app.continuous_builds add column every_seconds integer check (every_seconds > 0);
comment on column app.continuous_builds.every_seconds is
'MAILMART_BUILD_EVERY of the leading scheduler; null if continuous builds are off.';

-- the mart freshness reads them
grant select (target, checked_at, every_seconds) on app.continuous_builds to mailmart_analyst, mailmart_workspace_analyst;

alter table app.webhook_sources add column was_signed boolean;
comment on column app.webhook_sources.was_signed is
'Whether a revoked source had a signing secret; null for others, and for those that were revoked before this column.';

-- Whether a source has a signing secret; of a revoked one, whether it had one. The roles that ask cannot read secrets, not even which
-- sources have one.
create or replace function app.is_webhook_source_signed(id_of_source text)
returns boolean
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        case
            when sources.revoked_at is not null then sources.was_signed
            else exists (
                select from app.webhook_source_secrets as secrets
                where
                    secrets.source_id = sources.source_id
                    and (secrets.valid_until is null or secrets.valid_until > clock_timestamp())
            )
        end
    from app.webhook_sources as sources
    where sources.source_id = id_of_source;
end;

reset role;
