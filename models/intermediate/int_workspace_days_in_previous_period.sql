-- one select: PostgreSQL joins through it, as it does not through a query with a WITH of its own
{{ workspace_days_where(is_in_previous_period('sent_date')) }}
