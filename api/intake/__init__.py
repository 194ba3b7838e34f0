"""Webhooks over HTTP. May import everything below it: ingest, db, settings and errors."""
