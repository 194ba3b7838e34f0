{#
    CTEs of a comparison, up to `compared`: the campaigns asked for (all without any) in the order asked, with what each sent
    in the window.
#}
{% macro compared_campaigns() -%}
campaigns as (
    select
        workspace_id,
        campaign_id,
        campaign_name,
        array_position(
            array(select jsonb_array_elements_text({{ request_campaign_ids() }})), campaign_id
        ) as place
    from {{ ref('dim_campaigns') }} as dim_campaigns
    where
        {{ is_visible_as_of('dim_campaigns') }}
        and coalesce({{ request_campaign_ids() }}, jsonb_build_array(campaign_id)) ? campaign_id
),

{{
    requested_campaign_days([
        'sent',
        'delivered',
        'bounced',
        'opened',
        'clicked',
        'replied',
        'complained',
        'unsubscribed',
    ])
}},

compared as (
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        campaigns.campaign_name,
        campaigns.place,
        coalesce(sum(campaign_days.sent), 0)::bigint as sent,
        coalesce(sum(campaign_days.delivered), 0)::bigint as delivered,
        coalesce(sum(campaign_days.bounced), 0)::bigint as bounced,
        coalesce(sum(campaign_days.opened), 0)::bigint as opened,
        coalesce(sum(campaign_days.clicked), 0)::bigint as clicked,
        coalesce(sum(campaign_days.replied), 0)::bigint as replied,
        coalesce(sum(campaign_days.complained), 0)::bigint as complained,
        coalesce(sum(campaign_days.unsubscribed), 0)::bigint as unsubscribed
    from campaigns
    left join campaign_days
        on
            campaigns.workspace_id = campaign_days.workspace_id
            and campaigns.campaign_id = campaign_days.campaign_id
    group by campaigns.workspace_id, campaigns.campaign_id, campaigns.campaign_name, campaigns.place
)
{%- endmacro %}
