"""Erases a workspace or a recipient: rows in one transaction, then files of exports, then what PostgreSQL keeps of old rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from api.contract.publication import read_publication
from api.db.citus_queries import is_distributed
from api.db.connection import connect
from api.db.lock_retry import LOCK_ERRORS, lock_problem, retry_while_locked
from api.erasure.files import delete_files
from api.erasure.person import HINT, check_address, person_parameters
from api.errors import ContractError, MailmartError
from api.exports.storage import storage_of
from api.plurals import counted
from api.settings import Settings

# each lock is asked for during a second, so that nobody waits long behind it (decision 57)
LOCK_TIMEOUT = "-c lock_timeout=1s"
MAX_SECONDS_IN_USE = 1800
WAIT_REPORT_SECONDS = 10.0
NOT_BUILT = "MM004"
Report = Callable[[str], None]

CORE_SCHEMAS = """
    select nspname from pg_catalog.pg_namespace
    where nspname ~ '(^|_)core$' and pg_has_role(nspowner, 'usage')
    order by nspname
"""
COMPRESSED = ("app.compressed_raw_events", "app.compressed_events")
RECORD = """
    insert into app.erasures (kind, workspace_id, row_counts, export_ids, completed_at)
    values (%s, %s, %s, %s, case when %s then clock_timestamp() end)
"""


@dataclass
class Erasure:
    """What was erased, or would be.

    Attributes:
        rows: table → number of rows that were deleted or changed.
        exports: exports whose files were deleted.
        kept: what still names the recipient: the platform's own tables.
    """

    rows: dict[str, int] = field(default_factory=dict)
    exports: int = 0
    kept: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not self.rows


def is_erased_workspace(settings: Settings, workspace_id: str) -> bool:
    """Whether a workspace was erased: new data of it are refused."""
    with connect(settings, "mailmart_owner") as connection:
        return _is_erased(connection, workspace_id)


def check_not_erased(settings: Settings, workspace_id: str) -> None:
    """
    Raises:
        MailmartError: the workspace was erased.
    """
    if is_erased_workspace(settings, workspace_id):
        raise MailmartError(
            f"the workspace {workspace_id!r} was erased",
            hint="To use its id again, run as the owner: select app.allow_erased_workspace(id).",
        )


def erase_workspace(settings: Settings, workspace_id: str, *, is_dry_run: bool, report: Report) -> Erasure:
    """Deletes all data of a workspace. From then on, new data of it are refused.

    Interrupted at any moment, another run completes it.

    Raises:
        MailmartError: nothing is known of the workspace, a table is in use for long, or the storage of exports fails.
    """
    with _connect(settings) as connection:
        with connection.transaction():
            erasure = Erasure(_counts(connection, "select * from app.erase_workspace(%s, true)", workspace_id))
            was_erased = _is_erased(connection, workspace_id)
        if erasure.is_empty and not was_erased:
            raise MailmartError(
                f"no data is stored of a workspace {workspace_id!r}; nothing was changed",
                hint="Look at raw.workspaces for its id.",
            )
        if is_dry_run:
            return erasure
        if not erasure.is_empty:
            # first, and committed: whatever is loaded from now on is refused, and what was being loaded is here
            _retry(report, lambda: _refuse(connection, workspace_id))
            _retry(report, lambda: _erase_workspace(connection, workspace_id, erasure))
        _finish(settings, connection, erasure)
    return erasure


def erase_recipient(
    settings: Settings, typed_address: str, workspace_id: str | None, *, is_dry_run: bool, report: Report
) -> Erasure:
    """Replaces a recipient by a random address in every table, and removes the texts, URLs and user agents of their events.

    Nothing of the address is stored. Interrupted at any moment, another run completes it. A dry run does the same and undoes it.

    Raises:
        MailmartError: this is no address, nothing was built, a table is in use for long, or the storage of exports fails.
    """
    typed = check_address(typed_address)
    with _connect(settings) as connection:
        countable_types = _countable_types(connection, settings.target)
        with connection.transaction():
            address, domain = connection.execute(
                "select app.bare_address(%(typed)s), app.recipient_domain(%(typed)s)", {"typed": typed}
            ).fetchone() or ("", "")
        if not domain:
            raise MailmartError("this is not one e-mail address", hint=HINT)
        person = Jsonb(person_parameters(address, domain, typed=typed, workspace=workspace_id, countable_types=countable_types))
        erasure = Erasure()
        try:
            _retry(report, lambda: _erase_recipient(connection, person, workspace_id, erasure, is_dry_run))
        except psycopg.Error as error:
            if error.sqlstate != NOT_BUILT:
                raise
            raise MailmartError(
                "no build has read the recipient's bounces yet, so an erasure would lose their reasons; nothing was changed",
                hint="Run `mailmart build`, then erase.",
            ) from error
        if not is_dry_run:
            _finish(settings, connection, erasure)
    return erasure


def _connect(settings: Settings) -> psycopg.Connection:
    return connect(settings, "mailmart_owner", autocommit=True, options=LOCK_TIMEOUT)


def _is_erased(connection: psycopg.Connection, workspace_id: str) -> bool:
    row = connection.execute("select from app.erased_workspaces where workspace_id = %s", (workspace_id,)).fetchone()
    return row is not None


def _refuse(connection: psycopg.Connection, workspace_id: str) -> None:
    with connection.transaction():
        connection.execute("insert into app.erased_workspaces (workspace_id) values (%s) on conflict do nothing", (workspace_id,))
        connection.execute("select app.refuse_erased_workspaces()")


def _erase_workspace(connection: psycopg.Connection, workspace_id: str, erasure: Erasure) -> None:
    with connection.transaction():
        connection.execute("select app.block_builds()")
        export_ids = [
            row[0] for row in connection.execute("select export_id from app.exports where workspace_id = %s", (workspace_id,))
        ]
        erasure.rows = _counts(connection, "select * from app.erase_workspace(%s, false)", workspace_id)
        erasure.rows |= _counts(connection, "select * from app.erase_failures()")
        _record(connection, "workspace", workspace_id, erasure, export_ids)


def _erase_recipient(
    connection: psycopg.Connection, person: Jsonb, workspace_id: str | None, erasure: Erasure, is_dry_run: bool
) -> None:
    with connection.transaction(force_rollback=is_dry_run):
        connection.execute("select app.block_builds()")
        connection.execute("select app.begin_recipient_erasure(%s)", (person,))
        rows: dict[str, int] = {}
        for table, function in (
            ("raw.webhook_payloads", "erase_recipient_from_payloads"),
            ("raw.email_events", "erase_recipient_from_events"),
            ("app.compressed_raw_events", "erase_recipient_from_compressed_events"),
            ("raw.rejected_payloads", "erase_recipient_from_rejected"),
        ):
            statement = sql.SQL("select {}::text, app.{}(%s)").format(sql.Literal(table), sql.Identifier(function))
            _add(rows, _counts(connection, statement, person))
        connection.execute("select app.take_out_recipient(%s)", (person,))
        for (schema,) in connection.execute(CORE_SCHEMAS).fetchall():
            _add(rows, _counts(connection, "select * from app.erase_recipient_from_core(%s, %s)", person, schema))
        _add(rows, _counts(connection, "select * from app.erase_recipient_from_app(%s)", person))
        export_ids = [row[0] for row in connection.execute("select app.erase_recipient_from_exports(%s)", (person,))]
        if export_ids:
            _add(rows, {"app.exports": len(export_ids)})
        erasure.rows = rows
        erasure.exports = len(export_ids)
        erasure.kept = [
            f"{relation}.{column}: {counted(count, 'row')}"
            for relation, column, count in connection.execute("select * from app.find_in_app_tables(%s)", (person,))
        ]
        if not erasure.is_empty:
            _record(connection, "recipient", workspace_id, erasure, export_ids)


def _record(connection: psycopg.Connection, kind: str, workspace_id: str | None, erasure: Erasure, export_ids: list[str]) -> None:
    """Records the erasure, and makes the responses that the API has cached old."""
    connection.execute(RECORD, (kind, workspace_id, Jsonb(erasure.rows), export_ids, not export_ids))
    connection.execute("update app.current_publication set revision = revision + 1")


def _finish(settings: Settings, connection: psycopg.Connection, erasure: Erasure) -> None:
    """Deletes files, those of an interrupted erasure too, and has PostgreSQL forget the old rows and its statistics of them."""
    erasure.exports = delete_files(connection, lambda: storage_of(settings))
    if is_distributed(connection):
        # vacuum is for the nodes as well
        connection.execute("set citus.enable_ddl_propagation = on")
    # blocks of the recipient's events were written anew, and those of the workspace deleted
    for table in (*erasure.rows, *(set(COMPRESSED) - erasure.rows.keys())):
        if "." not in table:
            continue
        # parts that another session locks are left to autovacuum
        schema, _, name = table.partition(".")
        with suppress(psycopg.errors.LockNotAvailable):
            connection.execute(
                sql.SQL("vacuum (analyze, skip_locked) {}").format(sql.Identifier(schema.strip('"'), name.strip('"')))
            )


def _countable_types(connection: psycopg.Connection, target: str) -> list[str]:
    """The types of export that have no row of a message.

    Of types that are not known any more, nobody can say that; and a query can have rows by link, which may name a person.
    """
    with connection.transaction():
        publication = read_publication(connection, target)
    if publication is None:
        return []
    try:
        return [name for name, kind in publication.contract.catalogue.types.items() if not (kind.is_rows or kind.is_query)]
    except ContractError:
        return []


def _counts(connection: psycopg.Connection, statement: str | sql.Composed, *params: object) -> dict[str, int]:
    """Table → rows, without tables that had none. A table that is named twice has the larger number: the rows are the same."""
    rows: dict[str, int] = {}
    query = statement.encode() if isinstance(statement, str) else statement
    for relation, count in connection.execute(query, params):
        _add(rows, {relation: count})
    return rows


def _add(rows: dict[str, int], more: dict[str, int]) -> None:
    for relation, count in more.items():
        if count:
            rows[relation] = max(count, rows.get(relation, 0))


def _retry(report: Report, work: Callable[[], None]) -> None:
    """Runs the work in a transaction, and repeats all of it if it does not get a lock within a second.

    Raises:
        MailmartError: the lock was not free for half an hour.
    """
    reported_at = time.monotonic()

    def report_periodically(error: psycopg.Error) -> None:
        nonlocal reported_at
        if time.monotonic() - reported_at > WAIT_REPORT_SECONDS:
            reported_at = time.monotonic()
            report(f"waiting for a build or another session: {lock_problem(error)}")

    try:
        retry_while_locked(work, MAX_SECONDS_IN_USE, report_periodically)
    except LOCK_ERRORS as error:
        raise MailmartError(
            f"a build or another session has been in the way for {MAX_SECONDS_IN_USE} s: {lock_problem(error)}",
            hint="`mailmart batch status` names the sessions. Run the same command again.",
        ) from error
