{%- set max_links = 100 %}

with link_days as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_link_days'),
            columns=[
                'workspace_id', 'campaign_id', 'link', 'messages_clicked', 'human_messages_clicked', 'clicks', 'human_clicks',
            ],
            where=is_in_window('sent_date'),
        )
    }}
),

totals as (
    select
        workspace_id,
        campaign_id,
        link,
        {{ summed_counts('link_days', ['messages_clicked', 'human_messages_clicked', 'clicks', 'human_clicks']) }}
    from link_days
    group by workspace_id, campaign_id, link
),

ranked as (
    select
        *,
        sum(clicks) over (partition by workspace_id, campaign_id) as all_clicks,
        row_number() over (
            partition by workspace_id, campaign_id
            order by messages_clicked desc, clicks desc, link collate "C" asc
        ) as place
    from totals
)

select
    workspace_id,
    campaign_id,
    place,
    nullif(link, '') as link,
    messages_clicked as emails_clicked,
    human_messages_clicked as human_emails_clicked,
    clicks,
    human_clicks,
    round(100.0 * clicks / all_clicks, 2)::numeric(5, 2) as share_of_clicks
from ranked
where place <= {{ max_links }}
order by workspace_id, campaign_id, place
