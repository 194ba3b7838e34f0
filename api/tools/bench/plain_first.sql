-- The first build in plain SQL: the same events, messages and aggregates, in plain tables with the keys of the facts. Without
-- versions, row-level security and webhooks, only the cost of the aggregation remains.
-- step: events
create schema plain;
create table plain.events as
with numbered as (
    select
        *,
        row_number() over (partition by workspace_id, event_id order by loaded_at) as load_number
    from raw.email_events
    where
        event_id <> '' and workspace_id <> '' and message_id <> '' and event_type <> ''
        and isfinite(occurred_at) and occurred_at <= loaded_at + interval '1 day'
),

-- the rules are not compared: a few distinct texts have their reason from the build
classified as materialized (
    select distinct smtp_status, diagnostic, bounce_reason from core.fct_email_events
    where event_type = 'bounced'
)

select
    workspace_id, event_id, message_id, coalesce(campaign_id, '') as campaign_id, coalesce(mailbox_id, '') as mailbox_id,
    coalesce(domain_id, '') as domain_id, recipient_hash, coalesce(recipient_domain, '') as recipient_domain, event_type,
    smtp_status, smtp_code, diagnostic, url, user_agent, is_machine, occurred_at, loaded_at,
    case when event_type = 'bounced' then (
        select bounce_reason from classified
        where classified.smtp_status = numbered.smtp_status and classified.diagnostic = numbered.diagnostic
    ) end as bounce_reason
from numbered
where load_number = 1;
create unique index on plain.events (workspace_id, event_id);
create index on plain.events (workspace_id, message_id);
analyze plain.events;
-- step: messages
create view plain.counted_messages as
with summed as (
    select
        workspace_id,
        message_id,
        (array_agg(campaign_id order by occurred_at desc, event_id desc) filter (where campaign_id <> ''))[1] as campaign_id,
        (array_agg(mailbox_id order by occurred_at desc, event_id desc) filter (where mailbox_id <> ''))[1] as mailbox_id,
        (array_agg(domain_id order by occurred_at desc, event_id desc) filter (where domain_id <> ''))[1] as domain_id,
        (array_agg(recipient_domain order by occurred_at desc, event_id desc) filter (where recipient_domain <> ''))[1]
            as recipient_domain,
        (array_agg(bounce_reason order by occurred_at desc, event_id desc) filter (where bounce_reason <> ''))[1] as bounce_reason,
        min(occurred_at) filter (where event_type = 'sent') as sent,
        min(occurred_at) filter (where event_type = 'queued') as queued,
        min(occurred_at) filter (where event_type = 'delivered') as delivered,
        min(occurred_at) filter (where event_type = 'deferred') as deferred,
        min(occurred_at) filter (where event_type = 'bounced') as bounced,
        min(occurred_at) filter (where event_type in ('rejected', 'failed')) as refused,
        min(occurred_at) filter (where event_type in ('opened', 'clicked')) as opened,
        min(occurred_at) filter (where event_type in ('opened', 'clicked') and is_machine is not true) as human_opened,
        min(occurred_at) filter (where event_type = 'clicked') as clicked,
        min(occurred_at) filter (where event_type = 'clicked' and is_machine is not true) as human_clicked,
        min(occurred_at) filter (where event_type = 'replied') as replied,
        min(occurred_at) filter (where event_type = 'complained') as complained,
        min(occurred_at) filter (where event_type = 'unsubscribed') as unsubscribed
    from plain.events
    group by workspace_id, message_id
)

select
    workspace_id,
    message_id,
    coalesce(campaign_id, '') as campaign_id,
    coalesce(mailbox_id, '') as mailbox_id,
    coalesce(domain_id, '') as domain_id,
    coalesce(recipient_domain, '') as recipient_domain,
    coalesce(bounce_reason, '') as bounce_reason,
    coalesce(
        sent, case when refused is null or coalesce(delivered, deferred, bounced) is not null then queued end,
        delivered, deferred, bounced
    ) as sent_at,
    bounced is not null as is_bounced,
    delivered is not null and bounced is null as is_delivered,
    delivered is not null and bounced is null and opened is not null as is_opened,
    delivered is not null and bounced is null and clicked is not null as is_clicked,
    delivered is not null and bounced is null and replied is not null as is_replied,
    delivered is not null and bounced is null and complained is not null as is_complained,
    delivered is not null and bounced is null and unsubscribed is not null as is_unsubscribed,
    delivered is not null and bounced is null and human_opened is not null as is_human_opened,
    delivered is not null and bounced is null and human_clicked is not null as is_human_clicked,
    delivered as first_delivered_at,
    bounced as first_bounced_at,
    opened as first_opened_at,
    clicked as first_clicked_at,
    replied as first_replied_at,
    complained as first_complained_at,
    unsubscribed as first_unsubscribed_at
from summed;
create table plain.messages as
select
    *,
    (sent_at at time zone 'UTC')::date as sent_date,
    date_bin('15 minutes', sent_at, timestamptz '2000-01-01 00:00:00+00') as slot_at
from plain.counted_messages;
create unique index on plain.messages (workspace_id, message_id);
analyze plain.messages;
-- step: campaign days
create view plain.counted_days as
select
    workspace_id, campaign_id, mailbox_id, domain_id, sent_date,
    count(*) as sent,
    count(*) filter (where is_delivered) as delivered,
    count(*) filter (where is_bounced) as bounced,
    count(*) filter (where is_opened) as opened,
    count(*) filter (where is_clicked) as clicked,
    count(*) filter (where is_replied) as replied,
    count(*) filter (where is_complained) as complained,
    count(*) filter (where is_unsubscribed) as unsubscribed,
    count(*) filter (where is_human_opened) as human_opened,
    count(*) filter (where is_human_clicked) as human_clicked
from plain.messages
where sent_at is not null
group by workspace_id, campaign_id, mailbox_id, domain_id, sent_date;
create table plain.campaign_days as select * from plain.counted_days;
create unique index on plain.campaign_days (workspace_id, campaign_id, mailbox_id, domain_id, sent_date);
-- step: send slots
create view plain.counted_slots as
select
    workspace_id, campaign_id, slot_at,
    count(*) as sent,
    count(*) filter (where is_delivered) as delivered,
    count(*) filter (where is_opened) as opened,
    count(*) filter (where is_clicked) as clicked,
    count(*) filter (where is_replied) as replied
from plain.messages
where sent_at is not null
group by workspace_id, campaign_id, slot_at;
create table plain.send_slots as select * from plain.counted_slots;
create unique index on plain.send_slots (workspace_id, campaign_id, slot_at);
-- step: bounce days
create view plain.counted_bounces as
select workspace_id, campaign_id, mailbox_id, domain_id, sent_date, bounce_reason, count(*) as bounced
from plain.messages
where is_bounced
group by workspace_id, campaign_id, mailbox_id, domain_id, sent_date, bounce_reason;
create table plain.bounce_days as select * from plain.counted_bounces;
create unique index on plain.bounce_days (workspace_id, campaign_id, mailbox_id, domain_id, sent_date, bounce_reason);
