-- Inserts the events of the messages from %(first)s to %(last)s. Every random number is a hash of the seed, the message's number and
-- a purpose, so the same parameters generate the same rows with any plan. Events in the future are left out.
with drawn as (
    select
        message,
        width_bucket(pg_temp.chance(message, 1), %(campaign_bounds)s::float8[]) + 1 as campaign,
        %(until)s::date - %(days)s::int + width_bucket(pg_temp.chance(message, 2), %(day_bounds)s::float8[])
        + (width_bucket(pg_temp.chance(message, 3), %(hour_bounds)s::float8[]) + pg_temp.chance(message, 4))
        * interval '1 hour' as sent_at,
        pg_temp.chance(message, 5) as delivery_chance,
        pg_temp.chance(message, 6) as open_chance,
        pg_temp.chance(message, 7) as click_chance,
        pg_temp.chance(message, 8) as answer_chance,
        pg_temp.chance(message, 9) as delay_chance,
        pg_temp.chance(message, 10) as machine_chance,
        pg_temp.chance(message, 11) as odd_chance,
        pg_temp.chance(message, 12) as sender_chance,
        pg_temp.chance(message, 13) as queue_chance
    from generate_series(%(first)s::bigint, %(last)s::bigint) as message
),

-- materialized: inlined, the random numbers would be computed again for each event of a message
sent as materialized (
    select
        *,
        1 + (campaign - 1) %% %(workspaces)s as workspace,
        1 + floor(sender_chance * %(domains)s)::int as domain,
        1 + (message %% %(mailboxes)s)::int as mailbox,
        delivery_chance >= %(rejected)s + %(bounced)s as is_delivered,
        delivery_chance < %(rejected)s as is_rejected,
        open_chance < %(opened)s as is_opened,
        1 + width_bucket(
            (delivery_chance - %(rejected)s) / %(bounced)s, %(bounce_bounds)s::float8[]
        ) as bounce
    from drawn
),

-- delays in seconds: most engagement comes within hours, some after days
occurred as (
    select
        sent.*,
        kind.ordinal,
        kind.event_type,
        sent.sent_at + kind.seconds * interval '1 second' as occurred_at,
        kind.is_machine
    from sent
    cross join lateral (
        values
        (1, 'queued', -20.0, null::boolean, queue_chance < %(queued)s or is_rejected),
        (2, 'sent', 0, null, not is_rejected),
        (3, 'rejected', 1, null, is_rejected),
        (4, 'deferred', 60, null, not is_rejected and delay_chance < %(deferred)s),
        (5, 'bounced', 5 + 7200 * delay_chance ^ 8, null, not is_rejected and not is_delivered),
        (6, 'delivered', 3 + 1800 * delay_chance ^ 8, null, is_delivered),
        (
            7, 'opened', 30 + 259200 * (open_chance / %(opened)s) ^ 4, machine_chance < %(machine_opens)s,
            is_delivered and is_opened
        ),
        (8, 'opened', 3600 + 432000 * delay_chance ^ 2, false, is_delivered and open_chance < %(opened_again)s),
        (
            9, 'clicked', 90 + 300000 * (open_chance / %(opened)s) ^ 4, machine_chance < %(machine_clicks)s,
            is_delivered and (
                (is_opened and click_chance < (%(clicked)s - %(clicked_unseen)s) / %(opened)s)
                or (not is_opened and click_chance < %(clicked_unseen)s / (1 - %(opened)s))
            )
        ),
        (10, 'replied', 600 + 345600 * delay_chance ^ 2, null, is_delivered and answer_chance < %(replied)s),
        (11, 'autoresponded', 20, null, is_delivered and answer_chance > 1 - %(autoresponded)s),
        (12, 'complained', 900 + 86400 * delay_chance, null, is_delivered and answer_chance between 0.5 and 0.5 + %(complained)s),
        (
            13, 'unsubscribed', 300 + 86400 * delay_chance, null,
            is_delivered and answer_chance between 0.6 and 0.6 + %(unsubscribed)s
        ),
        (14, 'rendered', 40, null, odd_chance < %(unknown_type)s * 2.5)
    ) as kind (ordinal, event_type, seconds, is_machine, occurs)
    where kind.occurs
),

events_to_load as (
    select
        occurred.*,
        pg_temp.chance(message * 16 + ordinal, 20) < %(late)s as is_late
    from occurred
    cross join lateral generate_series(
        1, 1 + (pg_temp.chance(message * 16 + ordinal, 21) < %(duplicated)s)::int
    )
    where occurred_at <= now()
)

insert into raw.email_events (
    event_id,
    workspace_id,
    message_id,
    event_type,
    occurred_at,
    campaign_id,
    mailbox_id,
    domain_id,
    sequence_id,
    step,
    variant,
    tags,
    recipient_hash,
    recipient_domain,
    smtp_status,
    smtp_code,
    diagnostic,
    is_machine,
    url,
    user_agent
)
select
    'evt_' || %(seed)s || '_' || message || '_' || ordinal,
    'ws_demo_' || workspace,
    'msg_' || %(seed)s || '_' || message,
    event_type,
    occurred_at,
    case when odd_chance < 1 - %(no_campaign)s then 'cmp_demo_' || campaign end,
    case when sender_chance < 1 - %(no_mailbox)s then 'mbx_demo_' || workspace || '_' || domain || '_' || mailbox end,
    'dom_demo_' || workspace || '_' || domain,
    'seq_demo_' || campaign,
    (1 + message %% 3)::text,
    case when message / 3 %% 2 = 0 then 'A' else 'B' end,
    case when campaign %% 2 = 0 then '{cold,outreach}'::text[] end,
    md5('recipient ' || message),
    (%(recipient_domains)s::text[])[1 + (message %% cardinality(%(recipient_domains)s::text[]))],
    case
        when event_type = 'bounced' then (%(bounce_statuses)s::text[])[bounce]
        when event_type = 'deferred' then '4.7.1'
    end,
    case
        when event_type = 'bounced' then (%(bounce_codes)s::int[])[bounce]
        when event_type = 'deferred' then 451
        when event_type = 'delivered' then 250
    end,
    case
        when event_type = 'bounced' then (%(bounce_texts)s::text[])[bounce]
        when event_type = 'deferred' then '451 4.7.1 Greylisted, please try again'
    end,
    is_machine,
    case when event_type = 'clicked' then 'https://example.com/offer/' || campaign end,
    case when event_type in ('opened', 'clicked') then case when is_machine then 'ImageProxy' else 'Mozilla/5.0' end end
from events_to_load
-- late events are loaded after all others of their part
order by is_late
