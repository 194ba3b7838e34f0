with domains as (
    select domain_id from {{ ref('dim_domains') }} as dim_domains
    where {{ is_visible_as_of('dim_domains') }}
),

requested as (
    select {{ request_domain_id() }} as domain_id
)

select
    {{ request_workspace_id() }} as workspace_id,
    requested.domain_id
from requested
left join domains on requested.domain_id = domains.domain_id
where requested.domain_id is not null and domains.domain_id is null
