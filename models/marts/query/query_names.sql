{%- set named = [
    ('campaign', ref('dim_campaigns'), 'campaign_id', 'campaign_name'),
    ('mailbox', ref('dim_mailboxes'), 'mailbox_id', 'email'),
    ('domain', ref('dim_domains'), 'domain_id', 'domain'),
] -%}

-- no WITH: each row of a page looks up one value, in the branch of its dimension, by its key
{%- for dimension, table, id, name in named %}
select
    workspace_id,
    '{{ dimension }}' as dimension,
    {{ id }} as value,
    {{ name }} as name
from {{ table }} as versions
where {{ is_visible_as_of('versions') }}

union all
{% endfor %}
select
    {{ request_workspace_id() }} as workspace_id,
    'bounce_reason' as dimension,
    bounce_reason as value,
    label as name
from {{ ref('dim_bounce_reasons') }} as dim_bounce_reasons
where {{ is_visible_as_of('dim_bounce_reasons', has_workspace=false) }} and {{ request_workspace_id() }} is not null
