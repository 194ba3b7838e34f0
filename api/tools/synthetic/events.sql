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
        pg_temp.chance(message, 13) as queue_chance,
        pg_temp.chance(message, 14) as prefetch_chance,
        1 + width_bucket(pg_temp.chance(message, 15), %(recipient_bounds)s::float8[]) as recipient,
        1 + width_bucket(pg_temp.chance(message, 16), %(link_bounds)s::float8[]) as link,
        pg_temp.chance(message, 17) as mailbox_chance,
        1 + (message %% 3)::int as step,
        case when message / 3 %% 2 = 0 then 'A' else 'B' end as variant
    from generate_series(%(first)s::bigint, %(last)s::bigint) as message
),

placed as (
    select
        *,
        1 + (campaign - 1) %% %(workspaces)s as workspace,
        1 + floor(sender_chance * %(domains)s)::int as domain,
        1 + (message %% %(mailboxes)s)::int as mailbox_in_turn
    from drawn
),

-- the share of a mailbox that warms up grows from day to day; until then the first mailbox of its domain sends in its place
sent_by as (
    select
        *,
        case
            when
                workspace = 1
                and domain = %(warming_domain)s
                and mailbox_in_turn = %(warming_mailbox)s
                and mailbox_chance * %(warming_days)s >= sent_at::date - %(warming_since)s::date
                then 1
            else mailbox_in_turn
        end as mailbox,
        workspace = 1
        and domain = %(listed_domain)s
        and sent_at::date between %(listed_since)s::date and %(listed_until)s::date as is_listed,
        extract(
            hour from sent_at::timestamp at time zone 'UTC'
            at time zone (%(zones)s::text[])[1 + (workspace - 1) %% cardinality(%(zones)s::text[])]
        )::int as local_hour
    from placed
),

chances as (
    select
        *,
        workspace = 1 and domain = %(tired_domain)s and mailbox = %(tired_mailbox)s as is_tired
    from sent_by
),

shares as (
    select
        *,
        %(bounced)s
        * case when is_listed then %(listed_bounces)s else 1 end
        * case when is_tired then %(tired_bounces)s else 1 end as bounced_share,
        %(complained)s * case when is_tired then %(tired_complaints)s else 1 end as complained_share,
        %(opened)s
        * (%(campaign_opens)s::float8[])[campaign]
        * (%(hour_opens)s::float8[])[1 + local_hour]
        * (%(recipient_opens)s::float8[])[recipient]
        * (%(step_opens)s::float8[])[step]
        * case when variant = 'B' then (%(variant_opens)s::float8[])[campaign] else 1 end
        * case when is_listed then %(listed_opens)s else 1 end as opened_share,
        %(replied)s * (%(campaign_opens)s::float8[])[campaign] * (%(step_opens)s::float8[])[step] as replied_share
    from chances
),

-- materialized: inlined, the random numbers would be computed again for each event of a message
sent as materialized (
    select
        *,
        delivery_chance >= %(rejected)s + bounced_share as is_delivered,
        delivery_chance < %(rejected)s as is_rejected,
        open_chance < opened_share as is_opened,
        prefetch_chance < (%(recipient_prefetches)s::float8[])[recipient] as is_prefetched,
        case
            -- what the list adds are blocks
            when is_listed and delivery_chance >= %(rejected)s + %(bounced)s then %(listed_bounce)s
            else 1 + width_bucket(
                (delivery_chance - %(rejected)s) / case when is_listed then %(bounced)s else bounced_share end,
                %(bounce_bounds)s::float8[]
            )
        end as bounce
    from shares
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
            7, 'opened', 30 + 259200 * (open_chance / opened_share) ^ 4, machine_chance < %(machine_opens)s,
            is_delivered and is_opened
        ),
        (8, 'opened', 3600 + 432000 * delay_chance ^ 2, false, is_delivered and open_chance < %(opened_again)s),
        (
            9, 'clicked', 90 + 300000 * (open_chance / opened_share) ^ 4, machine_chance < %(machine_clicks)s,
            is_delivered and (
                (is_opened and click_chance < (%(clicked)s - %(clicked_unseen)s) / %(opened)s)
                or (not is_opened and click_chance < %(clicked_unseen)s / (1 - %(opened)s))
            )
        ),
        (10, 'replied', 600 + 345600 * delay_chance ^ 2, null, is_delivered and answer_chance < replied_share),
        (11, 'autoresponded', 20, null, is_delivered and answer_chance > 1 - %(autoresponded)s),
        (
            12, 'complained', 900 + 86400 * delay_chance, null,
            is_delivered and answer_chance between 0.5 and 0.5 + complained_share
        ),
        (
            13, 'unsubscribed', 300 + 86400 * delay_chance, null,
            is_delivered and answer_chance between 0.6 and 0.6 + %(unsubscribed)s
        ),
        (14, 'rendered', 40, null, odd_chance < %(unknown_type)s * 2.5),
        -- a proxy loads the pictures soon after the mail has come, whether or not a person opens it
        (15, 'opened', 10 + 900 * prefetch_chance, true, is_delivered and is_prefetched)
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
    step::text,
    variant,
    case when campaign %% 2 = 0 then '{cold,outreach}'::text[] end,
    md5('recipient ' || message),
    (%(recipient_domains)s::text[])[recipient],
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
    case when event_type = 'clicked' then replace((%(links)s::text[])[link], '{campaign}', campaign::text) end,
    case
        when event_type = 'opened' and is_machine then (%(proxies)s::text[])[recipient]
        when event_type = 'clicked' and is_machine
            then (%(scanners)s::text[])[1 + (message %% cardinality(%(scanners)s::text[]))]
        when event_type in ('opened', 'clicked') then (%(programs)s::text[])[recipient]
    end
from events_to_load
-- late events are loaded after all others of their part
order by is_late
