-- depends: 0051_tags_are_mostly_clean

set local role mailmart_owner;

-- A comparison may say how the mail was meant to be split, and so may its export.
create or replace function app.export_context_settings() returns text[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return array[
    'mailmart.range_start',
    'mailmart.range_end',
    'mailmart.group_by',
    'mailmart.campaign_id',
    'mailmart.domain_id',
    'mailmart.campaign_ids',
    'mailmart.timezone',
    'mailmart.granularity',
    'mailmart.metrics',
    'mailmart.expected_shares'
];
