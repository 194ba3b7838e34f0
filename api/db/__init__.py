"""PostgreSQL: connections, the pool, the request context of a transaction, locks and migrations.

It knows no feature. It may import `settings`, `errors` and `embedded`.
"""
