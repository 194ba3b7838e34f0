with mailboxes as (
    select * from {{ ref('int_listed_mailboxes') }}
),

last_day as (
    select * from {{ ref('int_mailbox_health_last_day') }}
),

first_day as (
    select * from {{ ref('int_mailbox_health_first_day') }}
)

select
    last_day.workspace_id,
    last_day.mailbox_id,
    mailboxes.email,
    nullif(mailboxes.domain_id, '') as domain_id,
    last_day.score as health_score,
    last_day.score - first_day.score as health_score_change,
    last_day.sent::bigint as sent_last_30_days,
    round(last_day.sent_this_week / 7.0, 1)::numeric(18, 1) as sent_per_day,
    {{ health_per_cent('last_day.hard_bounce_rate') }} as hard_bounce_rate,
    {{ health_per_cent('last_day.hard_bounce_rate_penalty') }} as hard_bounce_cost,
    {{ health_per_cent('last_day.spam_complaint_rate') }} as spam_complaint_rate,
    {{ health_per_cent('last_day.spam_complaint_rate_penalty') }} as spam_complaint_cost,
    {{ health_per_cent('last_day.unsubscribe_rate') }} as unsubscribe_rate,
    {{ health_per_cent('last_day.unsubscribe_rate_penalty') }} as unsubscribe_cost,
    {{ health_per_cent('greatest(last_day.drop_of_sent, 0)') }} as drop_of_sent,
    {{ health_per_cent('last_day.drop_of_sent_penalty') }} as drop_of_sent_cost
from last_day
-- full: they are hashed or merged. PostgreSQL takes each for a few rows, and would compare each with each in other joins
full join mailboxes
    on
        last_day.workspace_id = mailboxes.workspace_id
        and last_day.mailbox_id = mailboxes.mailbox_id
full join first_day
    on
        last_day.workspace_id = first_day.workspace_id
        and last_day.mailbox_id = first_day.mailbox_id
-- mailboxes that have a score; not `is not null`, which would make them left joins
where coalesce(last_day.sent, 0) > 0
