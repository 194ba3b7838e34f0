"""Report runs and their deliveries, as workers read and write them.

One attempt at a time works on a delivery: it reserves the delivery for longer than an attempt can take. The number of the attempt
is its token: all updates are conditional on it, so an outdated attempt changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

MAX_ATTEMPTS = 5
# after each attempt but the last
RETRY_SECONDS = (30, 120, 600, 3600)
RESERVATION_SECONDS = 240
# consecutive runs; then the webhook is disabled
MAX_WEBHOOK_FAILURES = 10
ATTEMPTS_EXHAUSTED = "Five attempts did not finish"


@dataclass(frozen=True)
class DeliveryTarget:
    """A run and one of its recipients."""

    run_id: str
    channel: str
    address: str

    @property
    def key(self) -> tuple[str, str, str]:
        """The primary key in app.report_deliveries."""
        return self.run_id, self.channel, self.address


def export_ended(connection: psycopg.Connection, export_id: str) -> None:
    """Enqueues the deliveries of the run that the export belongs to, if any. Call it in the transaction that ends the export."""
    runs = connection.execute(
        "select run_id from app.report_runs where export_id = %s and status = 'processing'", (export_id,)
    ).fetchall()
    for (run_id,) in runs:
        enqueue_deliveries(connection, run_id)


def enqueue_deliveries(connection: psycopg.Connection, run_id: str) -> None:
    """Enqueues a delivery for each recipient and the webhook, in the caller's transaction. Does nothing the second time.

    Recipients who have opted out get none. A mail above the workspace's mails of the day fails at once, in the database.
    """
    updated = connection.execute(
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
                            when exports.status = 'expired' then 'The export''s file was deleted'
                            when exports.status = 'failed' then exports.error
                            else ''
                        end
                    from app.exports as exports
                    where exports.export_id = runs.export_id
                ),
                'The export was deleted'
            )
        where runs.run_id = %s and runs.status = 'processing'
        """,
        (run_id,),
    )
    if updated.rowcount == 0:
        return
    connection.execute("update app.report_runs set error = null where run_id = %s and error = ''", (run_id,))
    connection.execute(
        """
        insert into app.report_deliveries (run_id, channel, target, workspace_id)
        select runs.run_id, recipients.channel, recipients.target, runs.workspace_id
        from app.report_runs as runs
        inner join app.reports as reports on runs.report_id = reports.report_id
        cross join lateral (
            select 'email' as channel, addresses.address as target
            from unnest(reports.recipients) as addresses (address)
            where not app.has_opted_out(reports.workspace_id, addresses.address)
            union all
            select 'webhook' as channel, reports.webhook_url as target
            where reports.webhook_url is not null and reports.webhook_disabled_at is null
        ) as recipients
        where runs.run_id = %s
        """,
        (run_id,),
    )
    connection.execute(
        "select app.defer_delivery(run_id, channel, target, 0) from app.report_deliveries where run_id = %s", (run_id,)
    )
    _end_run_if_delivered(connection, run_id)


def begin_attempt(connection: psycopg.Connection, target: DeliveryTarget) -> int | None:
    """Reserves a delivery and returns the attempt's number, 1 to MAX_ATTEMPTS.

    Returns None if there is nothing to do now. If the delivery is not due, it gets a job for later; if it has no attempts left,
    it fails.
    """
    with connection.transaction():
        reserved = connection.execute(
            "update app.report_deliveries"
            " set attempts = attempts + 1, not_before = clock_timestamp() + make_interval(secs => %s)"
            " where (run_id, channel, target) = (%s, %s, %s)"
            " and status = 'pending' and not_before <= clock_timestamp() and attempts < %s"
            " returning attempts",
            (RESERVATION_SECONDS, *target.key, MAX_ATTEMPTS),
        ).fetchone()
        if reserved is not None:
            return int(reserved[0])
        pending = connection.execute(
            "select greatest(extract(epoch from not_before - clock_timestamp()), 0)::double precision, attempts"
            " from app.report_deliveries where (run_id, channel, target) = (%s, %s, %s) and status = 'pending'",
            target.key,
        ).fetchone()
        if pending is None:
            return None
        seconds, attempts = pending
        if seconds <= 0 and attempts >= MAX_ATTEMPTS:
            end(connection, target, attempts, error=ATTEMPTS_EXHAUSTED)
        else:
            connection.execute("select app.defer_delivery(%s, %s, %s, %s)", (*target.key, seconds))
    return None


def retry_later(connection: psycopg.Connection, target: DeliveryTarget, attempt: int, error: str) -> None:
    """Enqueues the next attempt of a delivery."""
    seconds = RETRY_SECONDS[attempt - 1]
    with connection.transaction():
        updated = connection.execute(
            "update app.report_deliveries set error = %s, not_before = clock_timestamp() + make_interval(secs => %s)"
            " where (run_id, channel, target) = (%s, %s, %s) and status = 'pending' and attempts = %s",
            (error, seconds, *target.key, attempt),
        )
        if updated.rowcount == 1:
            connection.execute("select app.defer_delivery(%s, %s, %s, %s)", (*target.key, seconds))


def end(
    connection: psycopg.Connection, target: DeliveryTarget, attempt: int, *, error: str | None = None, is_gone: bool = False
) -> None:
    """Ends a delivery: delivered, or failed with an error.

    Disables the webhook after MAX_WEBHOOK_FAILURES consecutive failures, or at once if its receiver responded 410 (`is_gone`).
    """
    with connection.transaction():
        # locks in the same order as deleting a report does
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
        _end_run_if_delivered(connection, target.run_id)


def _count_failures(connection: psycopg.Connection, target: DeliveryTarget, *, is_failed: bool, is_gone: bool) -> None:
    params: dict[str, Any] = {
        "failed": is_failed,
        "max_failures": 1 if is_gone else MAX_WEBHOOK_FAILURES,
        "run_id": target.run_id,
        "url": target.address,
    }
    connection.execute(
        """
        update app.reports
        set
            webhook_failures = case when %(failed)s then webhook_failures + 1 else 0 end,
            webhook_disabled_at = case
                when %(failed)s and webhook_failures + 1 >= %(max_failures)s then coalesce(webhook_disabled_at, clock_timestamp())
                else webhook_disabled_at
            end
        where
            report_id = (select report_id from app.report_runs where run_id = %(run_id)s)
            and webhook_url = %(url)s
        """,
        params,
    )


def _end_run_if_delivered(connection: psycopg.Connection, run_id: str) -> None:
    """Ends a run if none of its deliveries is pending."""
    connection.execute(
        """
        update app.report_runs as runs
        set
            status = case when coalesce(runs.error, deliveries.error) is null then 'completed' else 'failed' end,
            error = coalesce(runs.error, deliveries.error),
            ended_at = clock_timestamp()
        from (
            select
                count(*) filter (where status = 'pending') as pending,
                'Not delivered: ' || string_agg(target, ', ' order by target) filter (where status = 'failed') as error
            from app.report_deliveries
            where run_id = %(run_id)s
        ) as deliveries
        where runs.run_id = %(run_id)s and runs.status = 'delivering' and deliveries.pending = 0
        """,
        {"run_id": run_id},
    )
