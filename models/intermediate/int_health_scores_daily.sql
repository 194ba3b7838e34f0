{{
    health_scores(
        campaign_days=ref('fct_campaign_days'),
        mailboxes=ref('int_requested_mailboxes'),
        factors=ref('dim_health_score_factors'),
        first_day=request_range_start(),
    )
}}
