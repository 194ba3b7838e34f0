-- depends: 0118_core_versions

set local role mailmart_owner;

-- A row for each batch, and not one for each writer that each batch updates: while an older transaction is open, no version of
-- that row can be removed, and each batch walked all of them.
alter table app.intake_writers rename to intake_batches;
alter table app.intake_batches drop constraint intake_writers_pkey;
alter table app.intake_batches add primary key (writer_id, batch_number);

comment on table app.intake_batches is
'One row per batch of bodies that the intake stored, of the last thousands. So a batch whose connection was lost is stored once.';

-- As before, but for the row of the batch.
create or replace function app.store_webhook_bodies(
    of_writer uuid, number bigint, source_ids text[], bodies text[], problems text[], reasons text[]
)
returns table (line bigint, problem text, reason text)
language plpgsql security definer
set search_path = app, pg_temp
-- the plan for the arrays of one batch is that of each
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    is_new boolean;
    stored bigint;
begin
    -- the provider deletes its copy after the 200
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    insert into intake_batches (writer_id, batch_number)
    values (of_writer, number)
    on conflict do nothing;
    is_new := found;
    if number % 1000 = 1 then
        -- a batch comes again within seconds
        delete from intake_batches
        where writer_id = of_writer and batch_number >= number - 2000 and batch_number < number - 1000;
        if number = 1 then
            -- of processes that ended
            delete from intake_batches
            where committed_at < clock_timestamp() - interval '1 day';
        end if;
    end if;
    -- An ordinary batch is one statement. A subtransaction for each body, and what finds out which of them is bad, is for the others:
    -- nothing of the attempt remains then.
    if is_new and array_remove(problems, null) = '{}' then
        begin
            insert into raw.webhook_payloads (provider, workspace_id, payload)
            select
                sources.provider,
                sources.workspace_id,
                entries.body::jsonb
            from unnest(source_ids, bodies) with ordinality as entries (source_id, body, line)
            inner join webhook_sources as sources on entries.source_id = sources.source_id and sources.revoked_at is null
            where left(entries.body, 1) in ('[', '{')
            order by entries.line;
            get diagnostics stored = row_count;
            if stored = cardinality(bodies) then
                return;
            end if;
            raise exception using errcode = 'raise_exception';
        exception when data_exception or program_limit_exceeded or raise_exception then
            null;
        end;
    end if;
    return query
    with incoming as (
        select
            entries.line,
            entries.source_id,
            entries.body,
            sources.provider,
            sources.workspace_id,
            case when sources.source_id is null then 'no_source' else entries.problem end as problem,
            case when sources.source_id is null then 'the source was revoked' else entries.reason end as reason
        from unnest(source_ids, bodies, problems, reasons) with ordinality as entries (source_id, body, problem, reason, line)
        left join webhook_sources as sources on entries.source_id = sources.source_id and sources.revoked_at is null
    ),

    checked as materialized (
        select
            incoming.line,
            incoming.source_id,
            incoming.body,
            incoming.provider,
            incoming.workspace_id,
            incoming.problem,
            parsed.payload,
            coalesce(incoming.reason, parsed.reason) as reason
        from incoming
        cross join lateral parse_webhook_body(case when incoming.reason is null then incoming.body end) as parsed
    ),

    stored as (
        insert into raw.webhook_payloads (provider, workspace_id, payload)
        select
            provider,
            workspace_id,
            payload
        from checked
        where reason is null and is_new
        order by line
    ),

    kept as (
        insert into raw.rejected_payloads (provider, workspace_id, problem, reason, source, body, body_md5)
        select
            provider,
            workspace_id,
            coalesce(problem, 'unreadable_body'),
            reason,
            source_id,
            left(body, 16384),
            md5(row(reason, left(body, 16384))::text)
        from checked
        where reason is not null and provider is not null and is_new
        order by line
        on conflict do nothing
    )

    select
        line,
        coalesce(problem, 'unreadable_body'),
        reason
    from checked
    where reason is not null
    order by line;
end
$$;

reset role;
