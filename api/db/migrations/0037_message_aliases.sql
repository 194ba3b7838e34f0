-- depends: 0035_native_times

-- Two ids of one message: events that carry only the second one belong to the message of the events that carry both.
set local role mailmart_owner;

-- Gives the events under an alias in fct_email_events the message that their alias was taught for: message_id. If it was taught for
-- several, it is the one that was taught last before the event, else the first. An event of this batch is changed in place; an older
-- one expires, and is inserted again with this batch.
--
-- Looks at the events of this batch, and at older ones whose alias this batch teaches; at all if `everything`. Both partial indexes
-- (macros/versioning/aliases.sql) have to exist.
create function app.assign_events_under_alias(events regclass, batch bigint, everything boolean) returns void
language plpgsql
set search_path = app, pg_temp
as $$
declare
    open_ended constant bigint := 9223372036854775807;
    -- Up to so many older events under an alias, all of them are looked at. Of more, only those whose alias this batch teaches are:
    -- a lookup for each alias that it teaches, and a first load teaches millions.
    few constant int := 10000;
    has_teaching boolean;
    old_events bigint;
    pending text;
    columns text;
begin
    execute format(
        'select exists (select from %s where alias_message_id is not null and is_under_alias is null and valid_to = %s)',
        events, open_ended
    ) into has_teaching;
    if not has_teaching and not everything then
        return;
    end if;
    execute format(
        'select count(*) from (select from %s where is_under_alias and valid_to = %s and valid_from < %s limit %s) as old_events',
        events, open_ended, batch, few + 1
    ) into old_events;
    pending := case
        when everything or old_events <= few
            then format('select * from %1$s where is_under_alias and valid_to = %2$s', events, open_ended)
        else
            format(
                $pending$
                select * from %1$s
                where is_under_alias and valid_to = %2$s and valid_from = %3$s
                union all
                select old_events.*
                from (
                    select distinct
                        workspace_id,
                        alias_message_id
                    from %1$s
                    where valid_from = %3$s and alias_message_id is not null and is_under_alias is null and valid_to = %2$s
                ) as taught
                cross join lateral (
                    select * from %1$s as old_events
                    where
                        old_events.workspace_id = taught.workspace_id
                        and old_events.alias_message_id = taught.alias_message_id
                        and old_events.is_under_alias
                        and old_events.valid_to = %2$s
                        and old_events.valid_from < %3$s
                    offset 0
                ) as old_events
                $pending$,
                events, open_ended, batch
            )
    end;

    drop table if exists pg_temp.moved_events;
    execute format(
        $moved$
        create temporary table moved_events on commit drop as
        select
            pending.workspace_id,
            pending.event_id,
            pending.valid_from,
            coalesce(target.message_id, pending.alias_message_id) as message_id
        from (%3$s) as pending
        left join lateral (
            select messages.message_id
            from (
                select
                    teaching.message_id,
                    extract(epoch from pending.occurred_at - min(teaching.occurred_at)) as seconds_before
                from %1$s as teaching
                where
                    teaching.workspace_id = pending.workspace_id
                    and teaching.alias_message_id = pending.alias_message_id
                    and teaching.provider = pending.provider
                    and teaching.is_under_alias is null
                    and teaching.valid_to = %2$s
                group by teaching.message_id
            ) as messages
            order by messages.seconds_before < 0, abs(messages.seconds_before), messages.message_id collate "C"
            limit 1
        ) as target on true
        where coalesce(target.message_id, pending.alias_message_id) <> pending.message_id
        $moved$,
        events, open_ended, pending
    );
    analyze pg_temp.moved_events;
    if not exists (select from pg_temp.moved_events) then
        return;
    end if;

    execute format(
        'update %1$s as events set message_id = moved_events.message_id from pg_temp.moved_events'
        || ' where events.workspace_id = moved_events.workspace_id and events.event_id = moved_events.event_id'
        || ' and events.valid_to = %2$s and events.valid_from = %3$s',
        events, open_ended, batch
    );
    select string_agg(format('%I', attname), ', ' order by attnum) into columns
    from pg_attribute
    where attrelid = events and attnum > 0 and not attisdropped and attname not in ('message_id', 'valid_from', 'valid_to');
    execute format(
        $expired$
        with expired as (
            update %1$s as events
            set valid_to = %3$s
            from pg_temp.moved_events
            where
                events.workspace_id = moved_events.workspace_id
                and events.event_id = moved_events.event_id
                and events.valid_to = %2$s
                and events.valid_from < %3$s
            returning events.*, moved_events.message_id as new_message_id
        )

        insert into %1$s (%4$s, message_id, valid_from, valid_to)
        select
            %4$s,
            new_message_id,
            %3$s,
            %2$s
        from expired
        $expired$,
        events, open_ended, batch, columns
    );
end
$$;

revoke execute on function app.assign_events_under_alias(regclass, bigint, boolean) from public;

reset role;
