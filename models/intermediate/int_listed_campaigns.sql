-- one select: PostgreSQL joins through it, as it does not through a query with a WITH of its own
select
    workspace_id,
    campaign_id,
    campaign_name,
    campaign_status
from {{ ref('dim_campaigns') }} as dim_campaigns
where
    {{ is_visible_as_of('dim_campaigns') }}
    and ({{ request_campaign_status() }} is null or campaign_status = lower({{ request_campaign_status() }}))
