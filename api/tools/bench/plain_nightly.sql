-- The nightly run in plain SQL: the events loaded since the last run, and the messages and aggregates that they change.
-- step: events
create temporary table new_events as
select distinct on (loaded.workspace_id, loaded.event_id) loaded.*
from raw.email_events as loaded
left join plain.events as known on loaded.workspace_id = known.workspace_id and loaded.event_id = known.event_id
where
    loaded.loaded_at > %(since)s and known.event_id is null
    and loaded.event_id <> '' and loaded.workspace_id <> '' and loaded.message_id <> '' and loaded.event_type <> ''
    and isfinite(loaded.occurred_at) and loaded.occurred_at <= loaded.loaded_at + interval '1 day'
order by loaded.workspace_id, loaded.event_id, loaded.loaded_at;
create temporary table classified as
select distinct smtp_status, diagnostic, bounce_reason from core.fct_email_events
where event_type = 'bounced';
insert into plain.events
select
    workspace_id, event_id, message_id, coalesce(campaign_id, ''), coalesce(mailbox_id, ''), coalesce(domain_id, ''),
    recipient_hash, coalesce(recipient_domain, ''), event_type, smtp_status, smtp_code, diagnostic, url, user_agent, is_machine,
    occurred_at, loaded_at,
    case when event_type = 'bounced' then (
        -- the rules are not compared
        select classified.bounce_reason from classified
        where classified.smtp_status = new_events.smtp_status and classified.diagnostic = new_events.diagnostic
    ) end
from new_events;
-- step: messages
create temporary table changed as select distinct workspace_id, message_id from new_events;
analyze changed;
create temporary table old as select messages.* from plain.messages inner join changed using (workspace_id, message_id);
create temporary table new as
select
    counted.*,
    (sent_at at time zone 'UTC')::date as sent_date,
    date_bin('15 minutes', sent_at, timestamptz '2000-01-01 00:00:00+00') as slot_at
from changed
cross join lateral (
    select * from plain.counted_messages as counted
    where counted.workspace_id = changed.workspace_id and counted.message_id = changed.message_id
) as counted;
delete from plain.messages using changed
where messages.workspace_id = changed.workspace_id and messages.message_id = changed.message_id;
insert into plain.messages select * from new;
-- step: campaign days
create temporary table days as
select workspace_id, campaign_id, mailbox_id, domain_id, sent_date from old where sent_at is not null
union select workspace_id, campaign_id, mailbox_id, domain_id, sent_date from new where sent_at is not null;
delete from plain.campaign_days using days
where (campaign_days.workspace_id, campaign_days.campaign_id, campaign_days.mailbox_id, campaign_days.domain_id, campaign_days.sent_date)
    = (days.workspace_id, days.campaign_id, days.mailbox_id, days.domain_id, days.sent_date);
insert into plain.campaign_days
select counted.* from days cross join lateral (
    select * from plain.counted_days as counted
    where (counted.workspace_id, counted.campaign_id, counted.mailbox_id, counted.domain_id, counted.sent_date)
        = (days.workspace_id, days.campaign_id, days.mailbox_id, days.domain_id, days.sent_date)
) as counted;
-- step: send slots
create temporary table slots as
select workspace_id, campaign_id, slot_at from old where sent_at is not null
union select workspace_id, campaign_id, slot_at from new where sent_at is not null;
delete from plain.send_slots using slots
where (send_slots.workspace_id, send_slots.campaign_id, send_slots.slot_at) = (slots.workspace_id, slots.campaign_id, slots.slot_at);
insert into plain.send_slots
select counted.* from slots cross join lateral (
    select * from plain.counted_slots as counted
    where (counted.workspace_id, counted.campaign_id, counted.slot_at) = (slots.workspace_id, slots.campaign_id, slots.slot_at)
) as counted;
-- step: bounce days
create temporary table bounces as
select workspace_id, campaign_id, mailbox_id, domain_id, sent_date from old where is_bounced
union select workspace_id, campaign_id, mailbox_id, domain_id, sent_date from new where is_bounced;
delete from plain.bounce_days using bounces
where (bounce_days.workspace_id, bounce_days.campaign_id, bounce_days.mailbox_id, bounce_days.domain_id, bounce_days.sent_date)
    = (bounces.workspace_id, bounces.campaign_id, bounces.mailbox_id, bounces.domain_id, bounces.sent_date);
insert into plain.bounce_days
select counted.* from bounces cross join lateral (
    select * from plain.counted_bounces as counted
    where (counted.workspace_id, counted.campaign_id, counted.mailbox_id, counted.domain_id, counted.sent_date)
        = (bounces.workspace_id, bounces.campaign_id, bounces.mailbox_id, bounces.domain_id, bounces.sent_date)
) as counted;
