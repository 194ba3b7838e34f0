"""Exports of queries: the body of a `POST /analytics/query`, whose rows are written to a file, with the response's numbers."""
