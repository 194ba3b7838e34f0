"""Background jobs in PostgreSQL: the queue (procrastinate), the worker loop and the recovery of lost jobs.

Knows nothing of exports or reports: what a job does is passed in. All SQL of procrastinate's tables is in `queue_sql`; jobs are
added by `app.enqueue` (migration 0017). May import observability and db.
"""
