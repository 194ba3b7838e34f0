"""Authentication, authorization and rate limits: who sends a request, whether it is allowed, and how many a minute.

It may import `db`, `embedded`, `observability`, `settings` and `errors`; it knows nothing of HTTP beyond one header's text.
"""
