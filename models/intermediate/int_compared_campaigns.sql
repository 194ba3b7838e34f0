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

-- lateral: the sums of one campaign need no sort
select
    compared.workspace_id,
    compared.campaign_id,
    compared.campaign_name,
    compared.position,
    campaign_totals.*
from compared
cross join
    lateral (
        select
            {{ summed_counts('campaign_days', [
                'sent', 'delivered', 'bounced', 'opened', 'clicked',
                'replied', 'complained', 'unsubscribed',
            ]) }}
        from campaign_days
        where
            campaign_days.workspace_id = compared.workspace_id
            and campaign_days.campaign_id = compared.campaign_id
    ) as campaign_totals
