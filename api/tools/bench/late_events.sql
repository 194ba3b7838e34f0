-- Late events: another open of messages delivered in the last 30 days. The messages are chosen at random, so that the events change
-- as many aggregates as possible. Each nightly run has others: the same ones again would be repeated events, which change nothing.
insert into raw.email_events (
    event_id, workspace_id, message_id, event_type, occurred_at, campaign_id, mailbox_id, domain_id, recipient_hash, recipient_domain
)
select
    'late_' || %(number)s || '_' || event_id, workspace_id, message_id, 'opened', now(), campaign_id, mailbox_id, domain_id, recipient_hash,
    recipient_domain
from raw.email_events
where event_type = 'delivered' and occurred_at > now() - interval '30 days'
order by hashtextextended(event_id, %(number)s)
limit %(events)s
