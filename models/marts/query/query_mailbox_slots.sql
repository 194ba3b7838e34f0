{{ query_view('mailbox_slots', [ref('fct_mailbox_slots')], joins={'mailboxes': ref('dim_mailboxes')}) }}
