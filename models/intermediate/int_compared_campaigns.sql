with campaigns as (
    select
        workspace_id,
        campaign_id,
        campaign_name
    from {{ ref('dim_campaigns') }} as dim_campaigns
    where {{ is_visible_as_of('dim_campaigns') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

compared as (
    select
        *,
        array_position(
            array(select jsonb_array_elements_text({{ request_campaign_ids() }})), campaign_id
        ) as position
    from campaigns
    where coalesce({{ request_campaign_ids() }}, jsonb_build_array(campaign_id)) ? campaign_id
)

select
    compared.workspace_id,
    compared.campaign_id,
    compared.campaign_name,
    compared.position,
    coalesce(sum(campaign_days.sent), 0)::bigint as sent,
    coalesce(sum(campaign_days.delivered), 0)::bigint as delivered,
    coalesce(sum(campaign_days.bounced), 0)::bigint as bounced,
    coalesce(sum(campaign_days.opened), 0)::bigint as opened,
    coalesce(sum(campaign_days.clicked), 0)::bigint as clicked,
    coalesce(sum(campaign_days.replied), 0)::bigint as replied,
    coalesce(sum(campaign_days.complained), 0)::bigint as complained,
    coalesce(sum(campaign_days.unsubscribed), 0)::bigint as unsubscribed
from compared
left join campaign_days
    on
        compared.workspace_id = campaign_days.workspace_id
        and compared.campaign_id = campaign_days.campaign_id
group by compared.workspace_id, compared.campaign_id, compared.campaign_name, compared.position
