{{ query_view('mailbox_days', [ref('fct_mailbox_days')], joins={'mailboxes': ref('dim_mailboxes')}) }}
