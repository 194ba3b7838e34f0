-- What the nightly run by hand looks its cells up by; made before it, and not counted.
create index on plain.messages (workspace_id, campaign_id, mailbox_id, domain_id, sent_date);
create index on plain.messages (workspace_id, campaign_id, slot_at);
analyze plain.campaign_days;
analyze plain.send_slots;
analyze plain.bounce_days;
