with compared_campaigns as (
    select * from {{ ref('int_compared_campaigns') }}
)

select
    workspace_id,
    campaign_id,
    campaign_name,
    {{ compared_rate_columns() }}
from compared_campaigns
order by workspace_id, position, campaign_id collate "C"
