"""One attempt at telling somebody of a run; what a worker does for a job of the queue `deliveries`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg.rows import dict_row

from api.db.connection import conninfo
from api.errors import DeliveryFailed
from api.exports.downloads import PATH
from api.exports.signed_urls import link
from api.reports import run_repository as runs
from api.reports.run_repository import Target
from api.reports.smtp import MailServer, send
from api.reports.templates import RunNotification, mail_of, webhook_body
from api.reports.webhook import Resolve, call, resolve
from api.settings import Settings

LOG = logging.getLogger(__name__)
# between two attempts: it was removed, or its time was over
FILE_IS_GONE = "The export's file is gone"
TRIES_TO_NOTE = 5
SECONDS_BETWEEN_NOTES = 3.0


@dataclass(frozen=True)
class _Told:
    """What there is to tell, and what it takes to."""

    outcome: RunNotification
    recipients: list[str]
    webhook_url: str | None
    is_webhook_off: bool
    webhook_secrets: list[str]


def run_delivery(
    settings: Settings, run_id: str, channel: str, address: str, *, resolve: Resolve = resolve, is_patient: bool = True
) -> None:
    """Tries a delivery once, if it is to be tried now.

    That it was done is written down as soon as it was, and if the database is away at that moment, tried again for a while
    (unless not patient): a delivery that nobody remembers is made twice.

    Raises:
        psycopg.Error: the books cannot be read or written; the job is to be put back.
        SettingsError: the mail server's address cannot be used.
    """
    target = Target(run_id, channel, address)
    with _books(settings) as connection:
        attempt = runs.begin_attempt(connection, target)
        if attempt is None:
            return
        told = _told(connection, settings, run_id)
    if told is None:
        return
    try:
        if channel == "email":
            _mail(settings, told, address)
        else:
            _call(settings, told, address, resolve)
    except DeliveryFailed as error:
        LOG.info("attempt %s to tell %s of run %s failed: %s", attempt, channel, run_id, error.message)
        failed = error
        _note(settings, lambda connection: _failed(connection, target, attempt, failed), is_patient=is_patient)
    else:
        _note(settings, lambda connection: runs.end(connection, target, attempt), is_patient=is_patient)


def _failed(connection: psycopg.Connection, target: Target, attempt: int, failure: DeliveryFailed) -> None:
    if failure.is_lasting or attempt >= runs.MAX_ATTEMPTS:
        runs.end(connection, target, attempt, error=failure.message, is_gone=failure.is_gone)
    else:
        runs.retry_later(connection, target, attempt, failure.message)


def _mail(settings: Settings, told: _Told, address: str) -> None:
    if address not in told.recipients:
        raise DeliveryFailed("The report has this recipient no more", is_lasting=True)
    if settings.smtp_url is None:
        raise DeliveryFailed("This service is not set up to send mail", is_lasting=True)
    send(MailServer.of(settings.smtp_url, settings.mail_from or ""), mail_of(told.outcome, address))


def _call(settings: Settings, told: _Told, address: str, resolve: Resolve) -> None:
    if address != told.webhook_url:
        raise DeliveryFailed("The report has this webhook no more", is_lasting=True)
    if told.is_webhook_off:
        raise DeliveryFailed("The webhook was turned off", is_lasting=True)
    call(
        address,
        webhook_body(told.outcome),
        webhook_id=told.outcome.run_id,
        keys=told.webhook_secrets,
        allowed=settings.webhook_allowed_networks,
        resolve=resolve,
    )


def _told(connection: psycopg.Connection, settings: Settings, run_id: str) -> _Told | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            select
                runs.run_id, runs.scheduled_for, runs.exported_at, runs.error,
                reports.report_id, reports.name, reports.workspace_id, reports.timezone,
                reports.recipients, reports.webhook_url,
                reports.webhook_disabled_at is not null as is_webhook_off,
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
                (select secret from app.signing_secret) as link_secret
            from app.report_runs as runs
            inner join app.reports as reports on runs.report_id = reports.report_id
            left join app.exports as exports on runs.export_id = exports.export_id
            where runs.run_id = %s
            """,
            (run_id,),
        ).fetchone()
    if row is None:
        return None
    others = {name: row.pop(name) for name in ("recipients", "webhook_url", "is_webhook_off", "webhook_secrets")}
    key, secret = row.pop("storage_key"), bytes(row.pop("link_secret"))
    url = None
    if key is not None and row["expires_at"] > datetime.now(UTC):
        # as long as the file: it leads to the storage, where that is elsewhere
        url = link(settings.public_url, PATH, secret, key, int(row["expires_at"].timestamp()))
    there = {"download_url": url, "expires_at": row["expires_at"] if url else None}
    error = row["error"] or (None if url else FILE_IS_GONE)
    return _Told(RunNotification(**{**row, **there, "error": error}), **others)


def _note(settings: Settings, write: Callable[[psycopg.Connection], None], *, is_patient: bool) -> None:
    for number in range(TRIES_TO_NOTE if is_patient else 1):
        if number:
            time.sleep(SECONDS_BETWEEN_NOTES)
        try:
            with _books(settings) as connection:
                write(connection)
        except psycopg.OperationalError:
            if number == TRIES_TO_NOTE - 1 or not is_patient:
                raise
        else:
            return


def _books(settings: Settings) -> psycopg.Connection:
    return psycopg.connect(conninfo(settings, "mailmart_worker"), autocommit=True, connect_timeout=10)
