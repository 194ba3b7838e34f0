with {{ compared_campaigns() }}

select
    workspace_id,
    campaign_id,
    campaign_name,
    {{ rate('delivered', 'sent') }} as delivery_rate,
    {{ rate('opened', 'delivered') }} as open_rate,
    {{ rate('clicked', 'delivered') }} as click_rate,
    {{ rate('clicked', 'opened') }} as click_to_open_rate,
    {{ rate('replied', 'delivered') }} as reply_rate,
    {{ rate('bounced', 'sent') }} as bounce_rate,
    {{ rate('complained', 'sent') }} as spam_rate,
    {{ rate('unsubscribed', 'delivered') }} as unsubscribe_rate
from compared
order by workspace_id, place, campaign_id
