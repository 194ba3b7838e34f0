"""Calls the SQL functions of migrations 0027 and 0123, which remove old rows. Each call is a transaction of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg import sql

from api.db.citus_queries import is_distributed

REMOVE: dict[str, LiteralString] = {
    "fct_email_events": "select app.close_messages(%s, %s, %s, %s, %s)",
    "fct_rejected_events": "select app.remove_rejected_events(%s, %s, %s, %s, %s)",
    "fct_messages": "select app.remove_messages(%s, %s, %s, %s, %s)",
}

# on Citus (api/db/citus_functions.sql), where a table has no pages
REMOVE_OF_WORKSPACE: dict[str, LiteralString] = {
    "fct_email_events": "select removed, last_id from app.close_messages_of_workspace(%s, %s, %s, %s, %s, %s)",
    "fct_rejected_events": "select removed, last_id from app.remove_rejected_events_of_workspace(%s, %s, %s, %s, %s, %s)",
    "fct_messages": "select removed, last_id from app.remove_messages_of_workspace(%s, %s, %s, %s, %s, %s)",
}


@dataclass(frozen=True)
class CoreRows:
    """Rows that a call removed of a workspace, and the key after which the next call begins; None at the end."""

    removed: int
    last_id: str | None


@dataclass(frozen=True)
class RawRows:
    """Rows that a call removed from a raw log, and the loaded_at at which the next call begins; None if nothing was found."""

    removed: int
    next_since: datetime | None


class RetentionRepository:
    """Removes old rows of a warehouse. The connection is the owner's, in autocommit mode.

    The methods that remove rows return None, and remove nothing, while a build runs.
    """

    def __init__(self, connection: psycopg.Connection, target: str) -> None:
        self._connection = connection
        self._target = target

    def cutoff(self, days: int) -> datetime:
        """The time of the database that many days ago."""
        row = self._connection.execute("select clock_timestamp() - %s * interval '24 hours'", (days,)).fetchone()
        assert row is not None  # noqa: S101 - the query always returns a row
        moment: datetime = row[0]
        return moment

    def ended_since(self, moment: datetime) -> set[str]:
        """The tables whose rows were removed by a run that began at that time or later, and ended."""
        rows = self._connection.execute(
            "select relation from app.retention where target = %s and started_at >= %s and ended_at is not null",
            (self._target, moment),
        ).fetchall()
        return {relation for (relation,) in rows}

    def exists(self, table: sql.Identifier) -> bool:
        """Whether the table was made already."""
        name = table.as_string(self._connection)
        return self._connection.execute("select to_regclass(%s) is not null", (name,)).fetchone() == (True,)

    def begin(self, relation: str, until: datetime) -> None:
        """Records that rows of the table from before `until` are removed from now on."""
        self._connection.execute("select app.begin_retention(%s, %s, %s)", (self._target, relation, until))

    def end(self, relation: str, oldest_kept: datetime | None) -> None:
        """Records that the table is done. `oldest_kept`: a row that is old enough and has to stay."""
        self._connection.execute(
            "update app.retention set ended_at = clock_timestamp(), oldest_kept = %s where target = %s and relation = %s",
            (oldest_kept, self._target, relation),
        )

    def removed_rows(self) -> dict[str, int]:
        """What the last run has removed, by table."""
        rows = self._connection.execute(
            "select relation, rows_removed from app.retention where target = %s order by relation", (self._target,)
        ).fetchall()
        return dict(rows)

    def leaf_tables(self, raw_log: str) -> list[str]:
        """The tables that hold the rows of a raw log: itself, or its partitions."""
        rows = self._connection.execute("select leaf_tables::text from app.leaf_tables(%s)", (f"raw.{raw_log}",)).fetchall()
        return [leaf for (leaf,) in rows]

    def drop_partition(self, raw_log: str, until: datetime) -> bool:
        """Drops one partition that is old as a whole. False if there is no such partition, or a build runs."""
        row = self._connection.execute(
            "select app.drop_raw_partition(%s, %s, %s)", (self._target, f"raw.{raw_log}", until)
        ).fetchone()
        return row is not None and row[0] is not None

    def remove_raw(self, raw_log: str, leaf: str, since: datetime | str | None, until: datetime, rows: int) -> RawRows | None:
        """Removes at most that many of the oldest rows. See app.remove_raw_rows()."""
        row = self._connection.execute(
            "select removed, next_since from app.remove_raw_rows(%s, %s, %s, %s, %s, %s)",
            (self._target, raw_log, leaf, since, until, rows),
        ).fetchone()
        return None if row is None or row[0] is None else RawRows(*row)

    def remove_compressed(self, until: datetime, blocks: int) -> int | None:
        """Removes the old rows of at most that many blocks of compressed raw events. See app.remove_compressed_raw_rows()."""
        row = self._connection.execute(
            "select app.remove_compressed_raw_rows(%s, %s, %s)", (self._target, until, blocks)
        ).fetchone()
        removed: int | None = row[0] if row else None
        return removed

    def oldest_raw(self, raw_log: str, until: datetime) -> datetime | None:
        """The loaded_at of the oldest row from before `until`."""
        query = sql.SQL("select min(loaded_at) from raw.{} where loaded_at < %s and loaded_at > '-infinity'")
        row = self._connection.execute(query.format(sql.Identifier(raw_log)), (until,)).fetchone()
        return row[0] if row else None

    def pages(self, table: sql.Identifier) -> int:
        """The size of a table in pages of PostgreSQL."""
        query = "select pg_relation_size(%s::regclass) / current_setting('block_size')::bigint"
        row = self._connection.execute(query, (table.as_string(self._connection),)).fetchone()
        return int(row[0]) if row else 0

    def remove_core(self, table: sql.Identifier, name: str, until: datetime, first_page: int, pages: int) -> int | None:
        """Removes the old rows of some pages of a table of core, for events: with all other events of their messages."""
        relation = table.as_string(self._connection)
        row = self._connection.execute(REMOVE[name], (self._target, relation, until, first_page, pages)).fetchone()
        removed: int | None = row[0] if row else None
        return removed

    def take_out_compressed(self, events: sql.Identifier, until: datetime, blocks: int) -> int | None:
        """Takes the old messages of some compressed blocks out of them, into the table of events. 0 if none is left."""
        row = self._connection.execute(
            "select app.take_out_old_events(%s, %s, %s, %s)",
            (self._target, events.as_string(self._connection), until, blocks),
        ).fetchone()
        rows: int | None = row[0] if row else None
        return rows

    def is_distributed(self) -> bool:
        """Whether the tables of core are distributed over the nodes of a Citus cluster."""
        return is_distributed(self._connection)

    def workspaces(self, table: sql.Identifier) -> list[str]:
        """The workspaces that have rows in a table of core."""
        query = sql.SQL("select distinct workspace_id from {} order by workspace_id").format(table)
        return [workspace_id for (workspace_id,) in self._connection.execute(query)]

    def remove_core_of_workspace(
        self, table: sql.Identifier, name: str, until: datetime, workspace_id: str, after_id: str, keys: int
    ) -> CoreRows | None:
        """Removes the old rows of one workspace, of at most so many messages or rejected events."""
        relation = table.as_string(self._connection)
        row = self._connection.execute(
            REMOVE_OF_WORKSPACE[name], (self._target, relation, until, workspace_id, after_id, keys)
        ).fetchone()
        return None if row is None or row[0] is None else CoreRows(*row)
