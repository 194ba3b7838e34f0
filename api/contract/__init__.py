"""From dbt's manifest to what the API offers: exposures become endpoints and export types, with their parameters and responses.

It may import `db`, `observability` and `errors`; `web`, `analytics`, `exports` and `reports` build on it.
"""
