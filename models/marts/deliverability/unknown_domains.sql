with asked as (
    select {{ request_domain_id() }} as domain_id
),

domains as (
    select domain_id from {{ ref('dim_domains') }} as dim_domains
    where {{ is_visible_as_of('dim_domains') }}
)

select
    {{ request_workspace_id() }} as workspace_id,
    asked.domain_id
from asked
left join domains on asked.domain_id = domains.domain_id
where asked.domain_id is not null and domains.domain_id is null
