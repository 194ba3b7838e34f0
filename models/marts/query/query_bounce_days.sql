{{ query_view('bounce_days', [ref('fct_bounce_days')], joins={'mailboxes': ref('dim_mailboxes')}) }}
