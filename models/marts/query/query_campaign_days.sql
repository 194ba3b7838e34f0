{{ query_view('campaign_days', [ref('fct_campaign_days')], joins={'mailboxes': ref('dim_mailboxes')}) }}
