{{
    config(
        unique_key=['workspace_id', 'campaign_id'],
        indexes=[{'columns': ['workspace_id', 'campaign_id']}],
        meta={'full_snapshot': true},
    )
}}

with campaigns as (
    select * from {{ ref('stg_campaigns') }}
    where campaign_id <> '' and workspace_id <> ''
),

campaign_days as (
    select * from {{ ref('fct_campaign_days') }}
    where {{ is_current() }} and not {{ is_blank('campaign_id') }}
),

campaigns_with_mail as (
    select distinct
        workspace_id,
        campaign_id
    from campaign_days
)

select
    workspace_id,
    campaign_id,
    -- a campaign without a name, or that is not in the app, is named by its id
    coalesce(nullif(campaigns.campaign_name, ''), campaign_id) as campaign_name,
    campaigns.campaign_status,
    campaigns.campaign_id is not null as is_in_app,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from campaigns
full join campaigns_with_mail using (workspace_id, campaign_id)
