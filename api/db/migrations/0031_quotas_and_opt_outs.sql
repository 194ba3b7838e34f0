-- depends: 0025_bounded_bodies
set local role mailmart_owner;

-- What one workspace may use, and the people who want no report mail. Every bound is checked here, under a lock of the workspace:
-- two processes that count at the same time cannot both pass.

create table app.workspace_limits (
    limit_name text primary key,
    max_value bigint not null check (max_value >= 0)
);

comment on table app.workspace_limits is
'One row per bound of each workspace. mailmart migrate writes the MAILMART_MAX_… settings that are set, and keeps the others.';
comment on column app.workspace_limits.limit_name is
'exports_processing, export_bytes, report_recipients or report_mails_per_day.';

insert into app.workspace_limits (limit_name, max_value)
values
('exports_processing', 50),
('export_bytes', 10240::bigint * 1024 * 1024),
('report_recipients', 200),
('report_mails_per_day', 1000);

-- 1. Exports. The messages are those of the API's error.

create function app.check_export_limits() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
declare
    max_processing constant bigint := (select max_value from workspace_limits where limit_name = 'exports_processing');
    max_bytes constant bigint := (select max_value from workspace_limits where limit_name = 'export_bytes');
    processing bigint;
    kept_bytes numeric;
begin
    -- the lock of app.request_export, which has it already
    perform pg_advisory_xact_lock(hashtext('mailmart.exports'), hashtext(new.workspace_id));
    select
        count(*) filter (where status = 'processing'),
        coalesce(sum(file_size_bytes) filter (where status = 'completed'), 0)
    into processing, kept_bytes
    from exports
    where workspace_id = new.workspace_id and removed_at is null and status in ('processing', 'completed');
    if processing >= max_processing then
        raise exception using
            errcode = 'check_violation',
            constraint = 'exports_processing_per_workspace',
            message = format(
                'The workspace has %s exports that wait or are being written, the maximum. Wait until one has ended, or cancel one.',
                processing
            );
    end if;
    if kept_bytes >= max_bytes then
        raise exception using
            errcode = 'check_violation',
            constraint = 'export_bytes_per_workspace',
            message = format(
                'The files of the workspace''s exports have %s MiB, and the maximum is %s MiB. Delete exports, or wait until they expire.',
                round(kept_bytes / 1048576), max_bytes / 1048576
            );
    end if;
    return new;
end
$$;

create trigger check_export_limits before insert on app.exports
for each row execute function app.check_export_limits();

create index exports_counted_by_limits on app.exports (workspace_id)
where removed_at is null and status in ('processing', 'completed');

-- 2. Recipients of reports.

create function app.check_report_recipients() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
declare
    max_recipients constant bigint := (select max_value from workspace_limits where limit_name = 'report_recipients');
    distinct_recipients bigint;
begin
    -- fewer is possible although there are too many
    if new.recipients = '{}' or (tg_op = 'UPDATE' and new.recipients <@ old.recipients) then
        return new;
    end if;
    -- the lock of api/reports/repository.py
    perform pg_advisory_xact_lock(hashtext('mailmart.reports'), hashtext(new.workspace_id));
    select count(distinct bare_address(recipients.address)) into distinct_recipients
    from (
        select unnest(reports.recipients) as address from reports
        where reports.workspace_id = new.workspace_id and reports.report_id <> new.report_id
        union all
        select unnest(new.recipients) as address
    ) as recipients;
    if distinct_recipients > max_recipients then
        raise exception using
            errcode = 'check_violation',
            constraint = 'report_recipients_per_workspace',
            message = format(
                'The reports of the workspace would have %s different recipients, and the maximum is %s. Remove some first.',
                distinct_recipients, max_recipients
            );
    end if;
    return new;
end
$$;

create trigger check_report_recipients before insert or update of recipients on app.reports
for each row execute function app.check_report_recipients();

-- 3. Mails a day. The counter is not a count of deliveries, which are deleted with their report.

create table app.report_mail_counts (
    workspace_id text not null,
    sent_on date not null,
    mails bigint not null,
    primary key (workspace_id, sent_on)
);

comment on table app.report_mail_counts is 'One row per workspace and UTC day: how many report mails were enqueued. Old days are deleted.';

create function app.count_report_mail() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
declare
    max_mails constant bigint := (select max_value from workspace_limits where limit_name = 'report_mails_per_day');
    today constant date := (clock_timestamp() at time zone 'UTC')::date;
begin
    delete from report_mail_counts where workspace_id = new.workspace_id and sent_on < today - 1;
    insert into report_mail_counts as counts (workspace_id, sent_on, mails)
    select new.workspace_id, today, 1
    where max_mails > 0
    on conflict (workspace_id, sent_on) do update set mails = counts.mails + 1 where counts.mails < max_mails;
    if not found then
        new.status := 'failed';
        new.ended_at := clock_timestamp();
        new.error := format('The workspace has sent its %s report mails of the day', max_mails);
    end if;
    return new;
end
$$;

create trigger count_report_mail before insert on app.report_deliveries
for each row when (new.channel = 'email')
execute function app.count_report_mail();

-- 4. Opting out. A link names the workspace and the hash of the address, and has a signature: who has the mail needs no login.

create table app.report_opt_outs (
    workspace_id text not null check (workspace_id <> ''),
    recipient_hash text not null check (recipient_hash ~ '^[0-9a-f]{64}$'),
    opted_out_at timestamptz not null default clock_timestamp(),
    primary key (workspace_id, recipient_hash)
);

comment on table app.report_opt_outs is 'One row per workspace and person who wants no report mail of it: the keyed hash of the address.';

-- The signature (hexadecimal HMAC-SHA256) of a link. The hash has a fixed length, so the workspace may contain any character.
create function app.opt_out_signature(for_workspace_id text, for_recipient_hash text)
returns text
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        encode(
            sha256(
                keys.outer_key
                || sha256(
                    keys.inner_key
                    || convert_to(concat_ws(e'\n', 'mailmart report opt-out', for_recipient_hash, for_workspace_id), 'UTF8')
                )
            ),
            'hex'
        )
    from app.signing_secret as keys
    where for_recipient_hash ~ '^[0-9a-f]{64}$';
end;

create function app.has_opted_out(of_workspace_id text, of_address text)
returns boolean
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select exists (
        select from app.report_opt_outs as opt_outs
        where
            opt_outs.workspace_id = of_workspace_id
            and opt_outs.recipient_hash = app.recipient_hash(of_address)
    );
end;

-- What the mail of a delivery needs for its link. No row if there is no such delivery.
create function app.opt_out_of_delivery(of_run_id text, of_address text)
returns table (recipient_hash text, signature text, has_opted_out boolean)
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select
        hashes.recipient_hash,
        app.opt_out_signature(deliveries.workspace_id, hashes.recipient_hash),
        app.has_opted_out(deliveries.workspace_id, deliveries.target)
    from app.report_deliveries as deliveries
    cross join lateral (select app.recipient_hash(deliveries.target) as recipient_hash) as hashes
    where deliveries.run_id = of_run_id and deliveries.channel = 'email' and deliveries.target = of_address;
end;

-- Which of these addresses want no report mail of the transaction's workspace.
create function app.opted_out_recipients(addresses text[])
returns setof text
language sql stable security definer
set search_path = app, pg_temp
begin atomic
    select recipients.address
    from unnest(addresses) as recipients (address)
    where app.has_opted_out(nullif(current_setting('mailmart.workspace_id', true), ''), recipients.address);
end;

-- Opts the person of a link out, or in again. False if the signature is not ours.
create function app.set_opt_out(of_workspace_id text, of_recipient_hash text, with_signature text, is_opted_out boolean)
returns boolean
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
    -- hashes are compared: the time that it takes says nothing about the signature
    if sha256(convert_to(with_signature, 'UTF8'))
        is distinct from sha256(convert_to(opt_out_signature(of_workspace_id, of_recipient_hash), 'UTF8'))
    then
        return false;
    end if;
    if is_opted_out then
        insert into report_opt_outs (workspace_id, recipient_hash)
        values (of_workspace_id, of_recipient_hash)
        on conflict do nothing;
    else
        delete from report_opt_outs where workspace_id = of_workspace_id and recipient_hash = of_recipient_hash;
    end if;
    return true;
end
$$;

grant execute on function app.has_opted_out(text, text) to mailmart_worker;
grant execute on function app.opt_out_of_delivery(text, text) to mailmart_worker;
grant execute on function app.opted_out_recipients(text[]) to mailmart_api;
grant execute on function app.set_opt_out(text, text, text, boolean) to mailmart_api;

reset role;
