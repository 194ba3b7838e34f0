with link_days as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_link_days'),
            columns=[
                'workspace_id', 'campaign_id', 'link', 'sent_date', 'messages_clicked', 'human_messages_clicked', 'clicks', 'human_clicks',
            ],
            where=is_in_window('sent_date'),
        )
    }}
),

-- Each campaign first: then its campaigns are counted without a sort. By hashing, for which the constant is (rollup.sql).
campaign_totals as (
    select
        workspace_id,
        link,
        campaign_id,
        max(sent_date) as last_sent_on,
        {{ summed_counts('link_days', ['messages_clicked', 'human_messages_clicked', 'clicks', 'human_clicks']) }}
    from link_days
    group by workspace_id, link, campaign_id, '0'::xid
),

totals as (
    select
        workspace_id,
        link,
        count(nullif(campaign_id, '')) as campaigns,
        max(last_sent_on) as last_sent_on,
        {{ summed_counts('campaign_totals', ['messages_clicked', 'human_messages_clicked', 'clicks', 'human_clicks']) }}
    from campaign_totals
    group by workspace_id, link, '0'::xid
),

-- of all clicks, also of those that name no URL
with_all_clicks as (
    select
        *,
        sum(clicks) over (partition by workspace_id) as all_clicks
    from totals
)

select
    workspace_id,
    link,
    campaigns,
    last_sent_on,
    messages_clicked as emails_clicked,
    human_messages_clicked as human_emails_clicked,
    clicks,
    human_clicks,
    round(100.0 * clicks / all_clicks, 2)::numeric(5, 2) as share_of_clicks
from with_all_clicks
where link <> ''
