"""One attempt to deliver a report run: what a worker does for a job of the queue `deliveries`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg.rows import dict_row

from api.db.connection import connect
from api.errors import DeliveryFailed
from api.exports.signed_urls import PATH, signed_url
from api.reports import run_repository as runs
from api.reports.mail_charts import NO_CHARTS, ChartMaker
from api.reports.opt_out_link import opt_out_url
from api.reports.run_repository import DeliveryTarget
from api.reports.smtp import MailServer, send
from api.reports.templates import RunNotification, run_mail, webhook_body
from api.reports.webhook import Resolve, resolve, send_webhook
from api.settings import Settings

LOG = logging.getLogger(__name__)
# it was removed or expired between two attempts
FILE_DELETED = "The export's file was deleted"
SAVE_ATTEMPTS = 5
SAVE_RETRY_SECONDS = 3.0


@dataclass(frozen=True)
class _Delivery:
    """What is sent, and the report's current recipients."""

    notification: RunNotification
    recipients: list[str]
    webhook_url: str | None
    is_webhook_disabled: bool
    webhook_secrets: list[str]


@dataclass(frozen=True)
class _OptOut:
    """The link by which the recipient of a mail opts out of the workspace's report mail, and whether that was done already."""

    url: str
    has_opted_out: bool


def run_delivery(
    settings: Settings,
    run_id: str,
    channel: str,
    address: str,
    *,
    charts: ChartMaker | None = None,
    resolve: Resolve = resolve,
    retry_saving: bool = True,
) -> None:
    """Attempts a delivery if it is due. Without `charts`, mails have none.

    The result is saved as soon as it is known. If the database is unavailable at that moment, saving is retried for a while
    (unless `retry_saving` is false): a delivery whose result is lost would be sent twice.

    Raises:
        psycopg.Error: the database is unavailable; the job must be retried.
        SettingsError: the mail server's settings are invalid.
    """
    target = DeliveryTarget(run_id, channel, address)
    with _connect(settings) as connection:
        attempt = runs.begin_attempt(connection, target)
        if attempt is None:
            return
        delivery = _read_delivery(connection, settings, run_id)
        opt_out = _read_opt_out(connection, settings, target, delivery) if channel == "email" else None
    if delivery is None:
        return
    try:
        if channel == "email":
            _send_mail(settings, delivery, address, opt_out, charts)
        else:
            _send_webhook(settings, delivery, address, resolve)
    except DeliveryFailed as error:
        LOG.info("attempt %s to deliver run %s by %s failed: %s", attempt, run_id, channel, error.message)
        failure = error
        _save(settings, lambda connection: _retry_or_fail(connection, target, attempt, failure), retry=retry_saving)
    else:
        _save(settings, lambda connection: runs.end(connection, target, attempt), retry=retry_saving)


def _retry_or_fail(connection: psycopg.Connection, target: DeliveryTarget, attempt: int, failure: DeliveryFailed) -> None:
    if failure.is_lasting or attempt >= runs.MAX_ATTEMPTS:
        runs.end(connection, target, attempt, error=failure.message, is_gone=failure.is_gone)
    else:
        runs.retry_later(connection, target, attempt, failure.message)


def _send_mail(settings: Settings, delivery: _Delivery, address: str, opt_out: _OptOut | None, charts: ChartMaker | None) -> None:
    if address not in delivery.recipients:
        raise DeliveryFailed("The recipient was removed from the report", is_lasting=True)
    if opt_out is None or opt_out.has_opted_out:
        raise DeliveryFailed("The recipient has opted out of report mail", is_lasting=True)
    if settings.smtp_url is None:
        raise DeliveryFailed("No mail server is configured", is_lasting=True)
    notification = delivery.notification
    made = NO_CHARTS
    if charts is not None and notification.export_id is not None and notification.download_url is not None:
        made = charts.charts_of(notification.export_id)
    send(MailServer.of(settings.smtp_url, settings.mail_from or ""), run_mail(notification, address, opt_out.url, made))


def _send_webhook(settings: Settings, delivery: _Delivery, address: str, resolve: Resolve) -> None:
    if address != delivery.webhook_url:
        raise DeliveryFailed("The webhook was removed from the report", is_lasting=True)
    if delivery.is_webhook_disabled:
        raise DeliveryFailed("The webhook is disabled", is_lasting=True)
    send_webhook(
        address,
        webhook_body(delivery.notification),
        webhook_id=delivery.notification.run_id,
        keys=delivery.webhook_secrets,
        allowed=settings.webhook_allowed_networks,
        resolve=resolve,
    )


def _read_delivery(connection: psycopg.Connection, settings: Settings, run_id: str) -> _Delivery | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            select
                runs.run_id, runs.scheduled_for, runs.exported_at, runs.error,
                reports.report_id, reports.name, reports.workspace_id, reports.timezone,
                reports.recipients, reports.webhook_url,
                reports.webhook_disabled_at is not null as is_webhook_disabled,
                array_remove(
                    array[
                        reports.webhook_secret,
                        case when reports.webhook_old_secret_until > clock_timestamp() then reports.webhook_old_secret end
                    ],
                    null
                ) as webhook_secrets,
                runs.export_id, exports.status as export_status,
                coalesce(exports.export_type, reports.request ->> 'export_type') as export_type,
                coalesce(exports.format, reports.request ->> 'format') as format,
                exports.row_count, exports.file_size_bytes, exports.sha256, exports.data_as_of,
                case when exports.status = 'completed' and exports.removed_at is null then exports.storage_key end as storage_key,
                exports.file_expires_at as expires_at,
                app.link_signature(
                    exports.storage_key, floor(extract(epoch from exports.file_expires_at))::bigint
                ) as link_signature,
                floor(extract(epoch from exports.file_expires_at))::bigint as link_expires_at
            from app.report_runs as runs
            inner join app.reports as reports on runs.report_id = reports.report_id
            left join app.exports as exports on runs.export_id = exports.export_id
            where runs.run_id = %s
            """,
            (run_id,),
        ).fetchone()
    if row is None:
        return None
    others = {name: row.pop(name) for name in ("recipients", "webhook_url", "is_webhook_disabled", "webhook_secrets")}
    key, link_expires_at, signature = (row.pop(name) for name in ("storage_key", "link_expires_at", "link_signature"))
    url = None
    if key is not None and row["expires_at"] > datetime.now(UTC):
        # valid as long as the file; the API redirects if the storage has URLs of its own
        url = signed_url(settings.public_url, PATH, key, link_expires_at, signature)
    download = {"download_url": url, "expires_at": row["expires_at"] if url else None}
    error = row["error"] or (None if url else FILE_DELETED)
    return _Delivery(RunNotification(**{**row, **download, "error": error}), **others)


def _read_opt_out(
    connection: psycopg.Connection, settings: Settings, target: DeliveryTarget, delivery: _Delivery | None
) -> _OptOut | None:
    row = connection.execute(
        "select recipient_hash, signature, has_opted_out from app.opt_out_of_delivery(%s, %s)", (target.run_id, target.address)
    ).fetchone()
    if row is None or delivery is None:
        return None
    recipient_hash, signature, has_opted_out = row
    url = opt_out_url(settings.public_url, delivery.notification.workspace_id, recipient_hash, signature)
    return _OptOut(url, has_opted_out)


def _save(settings: Settings, write: Callable[[psycopg.Connection], None], *, retry: bool) -> None:
    for number in range(SAVE_ATTEMPTS if retry else 1):
        if number:
            time.sleep(SAVE_RETRY_SECONDS)
        try:
            with _connect(settings) as connection:
                write(connection)
        except psycopg.OperationalError:
            if number == SAVE_ATTEMPTS - 1 or not retry:
                raise
        else:
            return


def _connect(settings: Settings) -> psycopg.Connection:
    return connect(settings, "mailmart_worker", autocommit=True)
