"""Publishes without a build, for tests that need no data."""

from __future__ import annotations

import psycopg


def publish_empty_contract(connection: psycopg.Connection) -> None:
    """Publishes a batch whose contract has no endpoints."""
    connection.execute(
        "insert into app.batches (target, invocation_id, command, status) values ('production', 'x', 'build', 'published')"
    )
    connection.execute(
        "insert into app.publications (target, batch_id, data_as_of, contract)"
        " select 'production', batch_id, now(), '{\"nodes\": {}, \"exposures\": {}}' from app.batches"
    )
    connection.execute("insert into app.current_publication (target, batch_id) select 'production', batch_id from app.batches")
