-- no WITH: each row of a page looks up one value, in the branch of its dimension, by its key
select
    workspace_id,
    'campaign' as dimension,
    campaign_id as value,
    campaign_name as name
from {{ ref('dim_campaigns') }} as dim_campaigns
where {{ is_visible_as_of('dim_campaigns') }}

union all

select
    workspace_id,
    'mailbox' as dimension,
    mailbox_id as value,
    email as name
from {{ ref('dim_mailboxes') }} as dim_mailboxes
where {{ is_visible_as_of('dim_mailboxes') }}

union all

select
    workspace_id,
    'domain' as dimension,
    domain_id as value,
    domain as name
from {{ ref('dim_domains') }} as dim_domains
where {{ is_visible_as_of('dim_domains') }}

union all

select
    {{ request_workspace_id() }} as workspace_id,
    'bounce_reason' as dimension,
    bounce_reason as value,
    label as name
from {{ ref('dim_bounce_reasons') }} as dim_bounce_reasons
where {{ is_visible_as_of('dim_bounce_reasons', has_workspace=false) }} and {{ request_workspace_id() }} is not null
