"""The charts of a report's mail: those of the endpoint whose numbers the report exports, as of the batch of its file."""

from __future__ import annotations

import dataclasses
import logging
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import orjson
import psycopg
from cachetools import TTLCache
from psycopg.rows import class_row
from psycopg.types.numeric import FloatLoader

from api.analytics.chart_document import chart_document, rows_of, value_at
from api.contract.charts import SERIES, VALUE, Chart, RowsChart
from api.contract.parameters import PARAMETERS
from api.contract.publication import Publication, read_publication
from api.db.connection import connect
from api.drawing.drawer import Drawer, DrawerBusy, DrawingFailed
from api.drawing.picture import PictureOptions, TooLargeToDraw, prepare_picture
from api.errors import ApiError, ContractError, SessionError, ValidationFailed
from api.exports.query.plan import sentences
from api.exports.repository import EXPORT_COLUMNS, Export
from api.exports.snapshot import Snapshot
from api.reports.one_line import one_line
from api.reports.query_chart import query_chart
from api.settings import Settings

LOG = logging.getLogger(__name__)
# in a mail about more campaigns nobody looks at each
MAX_CAMPAIGNS = 2
MAX_CHARTS = 4
# a picture is drawn for dense screens, and shown at half its width
WIDTH = 600
MAX_PICTURE_BYTES = 300_000
# of the numbers beside a picture: the days of a month
MAX_ROWS = 31
MAX_COLUMNS = 8
MAX_TEXT = 60
# an attempt at a mail is reserved for four minutes, and sending it may take one of them
MAX_SECONDS = 45.0
# for the charts of other runs: each holds a job of the worker, which has exports to write, too
SECONDS_TO_WAIT = 45.0
# one run goes to many recipients, one job each
KEPT_RUNS, KEPT_SECONDS = 32, 900
READ_OPTIONS = (
    "-c datestyle=ISO -c default_transaction_isolation=repeatable\\ read -c default_transaction_read_only=on"
    " -c statement_timeout={}s"
)


@dataclass(frozen=True)
class MailChart:
    """A chart as a mail shows it.

    Attributes:
        columns: the headings of its numbers.
        rows: its numbers, as texts.
        rows_left_out: how many rows more the file has.
        names: how many of the first columns say what the numbers of the others are of.
        png: the picture; empty if it could not be drawn.
    """

    name: str
    title: str
    description: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    rows_left_out: int
    names: int = 1
    png: bytes = b""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height at which the picture is shown."""
        width, height = struct.unpack(">II", self.png[16:24])
        return WIDTH, round(height * WIDTH / width)


@dataclass(frozen=True)
class MailCharts:
    """The charts of a mail, and a note about those that are missing ('' if none is)."""

    charts: tuple[MailChart, ...] = ()
    note: str = ""


NO_CHARTS = MailCharts()
NOT_READ = "The charts of this report could not be drawn."
NOT_ALL = "Not all charts of this report could be drawn in time."
DATA_REPLACED = "This mail has no charts: newer data was published since the file was written."


class ChartMaker:
    """Draws the charts of runs; for all threads of a worker. An error is noted in the mail, and never stops it."""

    def __init__(self, settings: Settings, drawer: Drawer) -> None:
        self._settings = settings
        self._drawer = drawer
        self._made: TTLCache[str, MailCharts] = TTLCache(KEPT_RUNS, KEPT_SECONDS)
        self._lock = threading.Lock()

    def charts_of(self, export_id: str) -> MailCharts:
        """The charts of a completed export; none if its type has none."""
        # one at a time, so that the recipients of a run share them
        if not self._lock.acquire(timeout=SECONDS_TO_WAIT):
            LOG.warning("the mail of %s has no charts: those of other mails took too long", export_id)
            return MailCharts(note=NOT_ALL)
        try:
            made = self._made.get(export_id)
            if made is None:
                made = self._make(export_id)
                # what failed may succeed for the next recipient
                if made.note not in (NOT_READ, NOT_ALL) and all(chart.png or not chart.rows for chart in made.charts):
                    self._made[export_id] = made
            return made
        finally:
            self._lock.release()

    def _make(self, export_id: str) -> MailCharts:
        try:
            with connect(
                self._settings, "mailmart_worker", options=READ_OPTIONS.format(self._settings.query_timeout_seconds)
            ) as connection:
                connection.adapters.register_loader("numeric", FloatLoader)
                publication = read_publication(connection, self._settings.target)
                with connection.cursor(row_factory=class_row(Export)) as cursor:
                    statement = b"select " + EXPORT_COLUMNS.as_bytes(connection) + b" from app.exports where export_id = %s"
                    export = cursor.execute(statement, (export_id,)).fetchone()
                if export is None or publication is None:
                    return NO_CHARTS
                return self._charts(connection, export, publication)
        except (psycopg.Error, SessionError, ApiError, ContractError) as error:
            LOG.warning("the mail of %s has no charts: %s", export_id, str(error).strip())
            return MailCharts(note=NOT_READ)
        # a chart is not worth a mail
        except Exception:
            LOG.exception("the mail of %s has no charts", export_id)
            return MailCharts(note=NOT_READ)

    def _charts(self, connection: psycopg.Connection, export: Export, publication: Publication) -> MailCharts:
        kind = publication.contract.catalogue.types.get(export.export_type)
        if kind is None:
            return NO_CHARTS
        exported = {section.name for section in kind.sections}
        charts = [chart for chart in publication.contract.charts.get(kind.endpoint, ()) if chart.section.name in exported]
        if not charts and not kind.is_query:
            return NO_CHARTS
        state = next((state for state in publication.readable if state.data_as_of == export.data_as_of), None)
        if state is None:
            return MailCharts(note=DATA_REPLACED)
        if export.units_total > MAX_CAMPAIGNS:
            return MailCharts(note=f"Charts are in mails about at most {MAX_CAMPAIGNS} campaigns.")
        published = dataclasses.replace(publication, batch_id=state.batch_id, data_as_of=state.data_as_of)
        made: list[MailChart] = []
        deadline = time.monotonic() + MAX_SECONDS
        if kind.is_query:
            return self._chart_of_query(connection, export, published, deadline)
        for chart in charts:
            if time.monotonic() > deadline:
                return MailCharts(tuple(made), NOT_ALL)
            for document in _documents(connection, export, chart, published):
                if len(made) < MAX_CHARTS:
                    campaign = str(document.get("campaign_name") or document.get("campaign_id") or "")
                    title = f"{chart.title}: {_short(campaign)}" if campaign else chart.title
                    made.append(self._chart(chart, title, rows_of(chart, document), state.data_as_of, deadline))
        return MailCharts(tuple(made))

    def _chart_of_query(
        self, connection: psycopg.Connection, export: Export, publication: Publication, deadline: float
    ) -> MailCharts:
        try:
            chart, rows = query_chart(connection, export, publication)
        except ValidationFailed as error:
            return MailCharts(note=f"This mail has no chart. {' '.join(sentences(error))}")
        return MailCharts((self._chart(chart, chart.title, rows, publication.data_as_of, deadline),))

    def _chart(
        self, chart: RowsChart, title: str, rows: Sequence[Mapping[str, Any]], data_as_of: datetime, deadline: float
    ) -> MailChart:
        columns, texts, names = _table(chart, rows)
        left_out = max(len(texts) - MAX_ROWS, 0)
        result = MailChart(chart.name, title, chart.description, columns, tuple(texts[:MAX_ROWS]), left_out, names)
        if not rows or time.monotonic() > deadline:
            return result
        try:
            document = chart_document(chart, rows, data_as_of)
            # the mail has the title, as text
            del document["title"]
            return dataclasses.replace(result, png=self._draw(document))
        except (DrawerBusy, DrawingFailed, TooLargeToDraw) as error:
            LOG.warning("the chart %s of a mail is not drawn: %s", chart.name, error or type(error).__name__)
            return result

    def _draw(self, document: Mapping[str, Any]) -> bytes:
        for scale in (2, 1):
            png = self._drawer.draw(prepare_picture(document, PictureOptions("png", width=WIDTH, scale=scale)))
            if len(png) <= MAX_PICTURE_BYTES:
                return png
        raise TooLargeToDraw(f"The picture has {len(png)} bytes.")


def _documents(
    connection: psycopg.Connection, export: Export, chart: Chart, publication: Publication
) -> Iterator[dict[str, Any]]:
    """The endpoint's `data` for each of the first campaigns of the export, or for the workspace, with the chart's parameters."""
    resolved = export.resolved
    params, context = {**resolved["params"], **chart.params}, dict(resolved["context"])
    for name in chart.params:
        context |= PARAMETERS[name].resolve(params, publication.data_as_of.date()).settings
    request = {**resolved, "params": params, "context": context, "include_time_series": True}
    read = dataclasses.replace(export, resolved=request, format="json")
    snapshot = Snapshot(connection, read, publication, publication.contract.catalogue, lambda units: None)
    for document in islice(snapshot.documents(), MAX_CAMPAIGNS):
        # as the API sends it
        yield orjson.loads(orjson.dumps(document, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS))


def _table(chart: RowsChart, rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]], int]:
    """The numbers of the chart: a column for each of its fields, names and dates before numbers; and how many are those."""
    # a fold makes these two fields of those that it names
    shown = [name for name in _fields(chart) if not chart.fold or name not in (SERIES, VALUE)]
    keys = sorted(shown, key=lambda name: chart.kinds[name] in ("integer", "number"))
    names = [*keys, *chart.fold][:MAX_COLUMNS]
    if chart.fold and not keys:
        # one row of many numbers is read from top to bottom
        return ("", ""), [(chart.labels[name], _text(value_at(row, name))) for row in rows for name in chart.fold], 1
    of_names = sum(chart.kinds[name] not in ("integer", "number") for name in names)
    texts = [tuple(_text(value_at(row, name)) for name in names) for row in rows]
    return tuple(chart.labels[name] for name in names), texts, max(of_names, 1)


def _fields(chart: RowsChart) -> list[str]:
    definitions = [
        definition
        for channel in chart.encoding.values()
        for definition in (channel if isinstance(channel, list) else [channel])
        if "field" in definition
    ]
    return list(dict.fromkeys(definition["field"] for definition in definitions))


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, float) else _short(str(value))


def _short(text: str) -> str:
    line = one_line(text[: MAX_TEXT + 1])
    return line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 1]}…"
