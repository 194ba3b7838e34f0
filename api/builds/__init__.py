"""Builds of the warehouse: nightly and manual runs of dbt with retries, what was published, rollback, retention, status
and metrics.

dbt itself records its builds, by the SQL functions of migration 0016; this package runs dbt and reads what it recorded.
May import dbt, db, observability, processes, settings and errors.
"""
