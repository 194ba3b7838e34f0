"""The books of runs and of their deliveries, as workers keep them.

A delivery is begun by one attempt at a time: who begins it reserves it for longer than an attempt can last. The count of
attempts is the attempt's token, so one that was taken for dead changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

MAX_ATTEMPTS = 5
# after each attempt but the last
WAITS = (30, 120, 600, 3600)
SECONDS_RESERVED = 240
MAX_FAILURES = 10
NEVER_ENDED = "It was begun five times and never ended"


@dataclass(frozen=True)
class Target:
    """One that a run is sent to."""

    run_id: str
    channel: str
    address: str

    @property
    def key(self) -> tuple[str, str, str]:
        """As app.report_deliveries has it."""
        return self.run_id, self.channel, self.address


def export_ended(connection: psycopg.Connection, export_id: str) -> None:
    """Sends the run whose export has ended, if it is one's; in the transaction in which it ends, or later."""
    runs = connection.execute(
        "select run_id from app.report_runs where export_id = %s and status = 'processing'", (export_id,)
    ).fetchall()
    for (run_id,) in runs:
        enqueue_deliveries(connection, run_id)


def enqueue_deliveries(connection: psycopg.Connection, run_id: str) -> None:
    """Gives each recipient and the webhook of a run a job; once, in the caller's transaction."""
    begun = connection.execute(
        """
        update app.report_runs as runs
        set
            status = 'delivering',
            exported_at = clock_timestamp(),
            error = coalesce(
                runs.error,
                (
                    select
                        case
                            when exports.removed_at is not null then 'The export was removed'
                            when exports.status = 'canceled' then 'The export was canceled'
                            when exports.status = 'expired' then 'The export''s file is gone'
                            when exports.status = 'failed' then exports.error
                            else ''
                        end
                    from app.exports as exports
                    where exports.export_id = runs.export_id
                ),
                'The export is gone'
            )
        where runs.run_id = %s and runs.status = 'processing'
        """,
        (run_id,),
    )
    if begun.rowcount == 0:
        return
    connection.execute("update app.report_runs set error = null where run_id = %s and error = ''", (run_id,))
    connection.execute(
        """
        insert into app.report_deliveries (run_id, channel, target, workspace_id)
        select runs.run_id, told.channel, told.target, runs.workspace_id
        from app.report_runs as runs
        inner join app.reports as reports on runs.report_id = reports.report_id
        cross join lateral (
            select 'email' as channel, unnest(reports.recipients) as target
            union all
            select 'webhook' as channel, reports.webhook_url as target
            where reports.webhook_url is not null and reports.webhook_disabled_at is null
        ) as told
        where runs.run_id = %s
        """,
        (run_id,),
    )
    connection.execute(
        "select app.defer_delivery(run_id, channel, target, 0) from app.report_deliveries where run_id = %s", (run_id,)
    )
    _settle(connection, run_id)


def begin_attempt(connection: psycopg.Connection, target: Target) -> int | None:
    """Reserves a delivery and gives the attempt's number. None where there is nothing to do now: it has ended, or it is to be
    tried later, for which there is a job then; one that was begun too often is ended."""
    with connection.transaction():
        begun = connection.execute(
            "update app.report_deliveries"
            " set attempts = attempts + 1, not_before = clock_timestamp() + make_interval(secs => %s)"
            " where (run_id, channel, target) = (%s, %s, %s)"
            " and status = 'pending' and not_before <= clock_timestamp() and attempts < %s"
            " returning attempts",
            (SECONDS_RESERVED, *target.key, MAX_ATTEMPTS),
        ).fetchone()
        if begun is not None:
            return int(begun[0])
        waits = connection.execute(
            "select greatest(extract(epoch from not_before - clock_timestamp()), 0)::double precision, attempts"
            " from app.report_deliveries where (run_id, channel, target) = (%s, %s, %s) and status = 'pending'",
            target.key,
        ).fetchone()
        if waits is None:
            return None
        seconds, attempts = waits
        if seconds <= 0 and attempts >= MAX_ATTEMPTS:
            end(connection, target, attempts, error=NEVER_ENDED)
        else:
            connection.execute("select app.defer_delivery(%s, %s, %s, %s)", (*target.key, seconds))
    return None


def retry_later(connection: psycopg.Connection, target: Target, attempt: int, error: str) -> None:
    """Gives a delivery that failed its next attempt."""
    seconds = WAITS[attempt - 1]
    with connection.transaction():
        noted = connection.execute(
            "update app.report_deliveries set error = %s, not_before = clock_timestamp() + make_interval(secs => %s)"
            " where (run_id, channel, target) = (%s, %s, %s) and status = 'pending' and attempts = %s",
            (error, seconds, *target.key, attempt),
        )
        if noted.rowcount == 1:
            connection.execute("select app.defer_delivery(%s, %s, %s, %s)", (*target.key, seconds))


def end(connection: psycopg.Connection, target: Target, attempt: int, *, error: str | None = None, is_gone: bool = False) -> None:
    """Ends a delivery: done, or given up for an error. A webhook that failed too many runs in a row is turned off, and so is
    one whose receiver says that it is gone."""
    with connection.transaction():
        # in this order, as a report is deleted
        connection.execute(
            "select from app.reports where report_id = (select report_id from app.report_runs where run_id = %s)"
            " for no key update",
            (target.run_id,),
        )
        connection.execute("select from app.report_runs where run_id = %s for no key update", (target.run_id,))
        ended = connection.execute(
            "update app.report_deliveries set status = %s, error = %s, ended_at = clock_timestamp()"
            " where (run_id, channel, target) = (%s, %s, %s) and status = 'pending' and attempts = %s",
            ("failed" if error else "delivered", error, *target.key, attempt),
        )
        if ended.rowcount == 0:
            return
        if target.channel == "webhook":
            _count_failures(connection, target, is_failed=error is not None, is_gone=is_gone)
        _settle(connection, target.run_id)


def _count_failures(connection: psycopg.Connection, target: Target, *, is_failed: bool, is_gone: bool) -> None:
    given: dict[str, Any] = {
        "failed": is_failed,
        "most": 1 if is_gone else MAX_FAILURES,
        "run_id": target.run_id,
        "url": target.address,
    }
    connection.execute(
        """
        update app.reports
        set
            webhook_failures = case when %(failed)s then webhook_failures + 1 else 0 end,
            webhook_disabled_at = case
                when %(failed)s and webhook_failures + 1 >= %(most)s then coalesce(webhook_disabled_at, clock_timestamp())
                else webhook_disabled_at
            end
        where
            report_id = (select report_id from app.report_runs where run_id = %(run_id)s)
            and webhook_url = %(url)s
        """,
        given,
    )


def _settle(connection: psycopg.Connection, run_id: str) -> None:
    """Ends a run once nothing of it is pending."""
    connection.execute(
        """
        update app.report_runs as runs
        set
            status = case when coalesce(runs.error, told.error) is null then 'completed' else 'failed' end,
            error = coalesce(runs.error, told.error),
            ended_at = clock_timestamp()
        from (
            select
                count(*) filter (where status = 'pending') as pending,
                'Not delivered: ' || string_agg(target, ', ' order by target) filter (where status = 'failed') as error
            from app.report_deliveries
            where run_id = %(run_id)s
        ) as told
        where runs.run_id = %(run_id)s and runs.status = 'delivering' and told.pending = 0
        """,
        {"run_id": run_id},
    )
