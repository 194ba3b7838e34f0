select
    nullif(recipient_provider, '') as recipient_provider,
    metric,
    warning_at,
    critical_at,
    published_by,
    source
from {{ ref('dim_published_limits') }} as dim_published_limits
where {{ is_visible_as_of('dim_published_limits', has_workspace=false) }}
order by recipient_provider nulls last, metric
