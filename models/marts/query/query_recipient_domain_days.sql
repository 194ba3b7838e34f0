{{ query_view('recipient_domain_days', [ref('fct_recipient_domain_days')]) }}
