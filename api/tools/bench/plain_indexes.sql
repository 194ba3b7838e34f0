-- The indexes that the nightly run in plain SQL needs; created before it, and not measured.
create index on plain.messages (workspace_id, campaign_id, mailbox_id, domain_id, sent_date);
create index on plain.messages (workspace_id, campaign_id, slot_at);
analyze plain.campaign_days;
analyze plain.send_slots;
analyze plain.bounce_days;
