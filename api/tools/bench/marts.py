"""Each query of the service's, as PostgreSQL plans and runs it on one large workspace: its time, and the facts that it scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import marshmallow as ma
from psycopg import Connection

from api.analytics.endpoint_request import resolve_settings
from api.analytics.query.plan import choose_fact
from api.analytics.query.request import request_fields, resolve_query
from api.analytics.query.statement import rows_statement
from api.contract.exposures import Endpoint
from api.contract.page_query import PAGE_AFTER, Position, section_statement
from api.contract.publication import Publication
from api.db.connection import connect
from api.db.request_context import apply_settings, tenant_settings
from api.settings import Settings
from api.tools.bench.scratch import build_warehouse, scratch_servers
from api.web.schemas import request_schema

ALL_MAIL, ONE_CAMPAIGN, ONE_DOMAIN, BY_HOUR = "all mail", "one campaign", "one domain", "by hour"
BY_NAME, SEARCHED, DEEP = "by name", "searched", "deep cursor"
COMPARED, LOCAL_DAYS = "compared", "local days"
MAX_COMPARED = 10
# limits in milliseconds: of a request for one campaign, of a page of a list, and of any other
LIMIT_OF_A_CAMPAIGN = 15
LIMIT_OF_A_LIST = 400
LIMIT = 40
OF_A_CAMPAIGN = ("campaign_analytics", "deliverability")
# of the local days of all mail, which are read by the quarter of an hour
LIMIT_OF_LOCAL_DAYS = 150
# of any query of metrics, and of one by what there can be as many of as messages
LIMIT_OF_QUERIES = 150
LIMIT_OF_DOMAINS_AND_LINKS = 400
MANY = ("link", "recipient_domain")
EVERYTHING = ("sent", "delivered", "open_rate", "click_rate", "reply_rate", "bounce_rate", "spam_rate", "engagement_score")
# of 90 days, with what they are about
QUERIES: dict[str, dict[str, Any]] = {
    "totals": {"metrics": ["sent", "opened"]},
    "by hour": {"metrics": ["sent", "opened"], "granularity": "hour"},
    "by campaign": {"metrics": EVERYTHING, "dimensions": ["campaign"]},
    "by campaign and day, compared": {
        "metrics": EVERYTHING,
        "dimensions": ["campaign"],
        "granularity": "day",
        "compare": "previous_period",
    },
    "by mailbox and domain": {"metrics": ["sent", "bounce_rate"], "dimensions": ["mailbox", "domain"]},
    "by campaign, mailbox and weekday": {"metrics": EVERYTHING, "dimensions": ["campaign", "mailbox", "weekday"]},
    "by bounce reason": {"metrics": ["bounced"], "dimensions": ["bounce_reason"]},
    "by recipient provider": {"metrics": ["sent", "deferred", "open_rate"], "dimensions": ["recipient_provider"]},
    "by campaign and recipient provider": {"metrics": EVERYTHING, "dimensions": ["campaign", "recipient_provider"]},
    "by step and variant": {"metrics": EVERYTHING, "dimensions": ["step", "variant"]},
    "by link": {"metrics": ["clicks", "human_clicks"], "dimensions": ["link"]},
    "by recipient domain": {"metrics": EVERYTHING, "dimensions": ["recipient_domain"]},
    "by recipient domain, compared": {
        "metrics": ("sent", "bounce_rate", "open_rate"),
        "dimensions": ["recipient_domain"],
        "compare": "previous_period",
    },
    "by campaign, of one recipient domain": {
        "metrics": EVERYTHING,
        "dimensions": ["campaign"],
        "filters": [{"dimension": "recipient_domain", "values": ["gmail.com"]}],
    },
    "by the hour of another zone": {"metrics": ["sent", "opened"], "granularity": "hour", "timezone": "Asia/Kathmandu"},
    "by campaign and hour of the day": {
        "metrics": ["sent", "open_rate"],
        "dimensions": ["campaign", "hour_of_day"],
        "timezone": "Europe/Berlin",
    },
    "by day of another zone": {"metrics": EVERYTHING, "granularity": "day", "timezone": "Asia/Kolkata"},
    "by campaign and day of another zone": {
        "metrics": ["sent", "delivery_rate", "bounce_rate", "spam_rate"],
        "dimensions": ["campaign"],
        "granularity": "day",
        "timezone": "Asia/Kolkata",
    },
    "by bounce reason and day of another zone": {
        "metrics": ["bounced"],
        "dimensions": ["bounce_reason"],
        "granularity": "day",
        "timezone": "Asia/Kolkata",
    },
    "by mailbox and day of another zone": {
        "metrics": ["sent", "bounce_rate", "spam_rate"],
        "dimensions": ["mailbox"],
        "granularity": "day",
        "timezone": "America/New_York",
    },
    "events by type and day": {"metrics": ["events"], "dimensions": ["event_type"], "basis": "event", "granularity": "day"},
    "by campaign and day of the event": {
        "metrics": EVERYTHING,
        "dimensions": ["campaign"],
        "basis": "event",
        "granularity": "day",
    },
}


@dataclass(frozen=True)
class MeasuredQuery:
    """One query, measured.

    Attributes:
        about: the filters of the request.
        milliseconds: the median of running it with a plan that the connection keeps, as the API does.
        planning: milliseconds of planning it, which a connection does once.
        scanned: the facts with a sequential scan.
        plan: of the last run.
    """

    endpoint: str
    view: str
    about: str
    milliseconds: float
    planning: float
    limit: int
    scanned: tuple[str, ...]
    plan: str

    @property
    def is_slow(self) -> bool:
        """Whether it took longer than its limit."""
        return self.milliseconds > self.limit


def bench_marts(
    settings: Settings, messages: int, days: int, campaigns: int, rounds: int, progress: Callable[[str], None]
) -> list[MeasuredQuery]:
    """Measures on a server of its own, and removes it.

    Raises:
        MailmartError: the build fails.
    """
    with scratch_servers(settings) as scratch:
        publication = build_warehouse(scratch, messages, days, progress, campaigns)
        workspace, ids = _ids(scratch)
        fixed = tenant_settings(workspace, publication.batch_id)
        queries = []
        for endpoint in publication.contract.endpoints:
            progress(f"measuring {endpoint.name}")
            for about, parameters in _requests(endpoint, ids):
                queries += _measure(scratch, endpoint, about, parameters, fixed, ids, rounds)
        progress("measuring queries of metrics")
        return queries + [_measure_query(scratch, publication, about, body, fixed, rounds) for about, body in QUERIES.items()]


def _ids(scratch: Settings) -> tuple[str, dict[str, Any]]:
    """The workspace, and its campaigns and its domain with the most mail."""
    with connect(scratch, "mailmart_owner") as connection:
        sent = connection.execute(
            "select workspace_id, campaign_id from core.fct_campaign_days where campaign_id <> ''"
            " group by workspace_id, campaign_id order by sum(sent) desc"
        ).fetchall()
        domains = connection.execute(
            "select mailboxes.domain_id from core.fct_campaign_days inner join core.dim_mailboxes as mailboxes"
            " using (workspace_id, mailbox_id) group by mailboxes.domain_id order by sum(sent) desc"
        ).fetchall()
    campaigns = [campaign for _, campaign in sent]
    return sent[0][0], {"campaignId": campaigns[0], "campaign_ids": campaigns[:MAX_COMPARED], "domainId": domains[0][0]}


def _requests(endpoint: Endpoint, ids: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The largest window, all campaigns that can be compared, all rates; then each filter alone."""
    largest: dict[str, Any] = {"timeRange": "90d", "time_range": "90d", "campaign_ids": ids["campaign_ids"]}
    largest |= {name: list(endpoint.parameters[name]) for name in endpoint.defaults}
    parameters = {name: value for name, value in largest.items() if name in endpoint.parameters}
    yield (ONE_CAMPAIGN if endpoint.path_parameters else ALL_MAIL), parameters
    for about, name, value in (
        (ONE_CAMPAIGN, "campaignId", ids["campaignId"]),
        (ONE_DOMAIN, "domainId", ids["domainId"]),
        (BY_HOUR, "granularity", "hour"),
        (COMPARED, "compare_to", "previous_period"),
    ):
        if name in endpoint.parameters:
            yield about, {**parameters, name: value}
    if any(section.if_param[0] == "timezone" for section in endpoint.sections):
        yield LOCAL_DAYS, {**parameters, "timezone": "America/New_York"}
    if endpoint.page is not None:
        names = [name for name, column in endpoint.page.sort.items() if column.is_text]
        if names:
            yield BY_NAME, {**parameters, "sort": names[0], "order": "asc"}
        if endpoint.page.search:
            yield SEARCHED, {**parameters, "search": "1"}
        yield DEEP, parameters


def _measure(
    scratch: Settings,
    endpoint: Endpoint,
    about: str,
    parameters: Mapping[str, Any],
    fixed: Mapping[str, str],
    ids: Mapping[str, Any],
    rounds: int,
) -> list[MeasuredQuery]:
    path = {name: ids[name] for name in endpoint.path_parameters}
    params = request_schema(endpoint)().load(parameters)
    context, _ = resolve_settings(endpoint, params, path, datetime.now(UTC).date())
    limit = LIMIT
    if about == ONE_CAMPAIGN and endpoint.name in OF_A_CAMPAIGN:
        limit = LIMIT_OF_A_CAMPAIGN
    elif about == LOCAL_DAYS and not endpoint.path_parameters:
        limit = LIMIT_OF_LOCAL_DAYS
    with connect(scratch, "mailmart_api") as connection:
        apply_settings(connection, {**fixed, **context})
        after = _middle(connection, endpoint) if about == DEEP else None
        if after is not None:
            apply_settings(connection, {PAGE_AFTER: after.setting()})
        return [
            _explain(
                connection,
                endpoint.name,
                section.name,
                section_statement(section, params, after),
                about,
                limit if section.page is None else LIMIT_OF_A_LIST,
                rounds,
            )
            for section in endpoint.sections
            if section.is_shown(params)
        ]


def _middle(connection: Connection, endpoint: Endpoint) -> Position | None:
    """The row in the middle of a list in its default order; None if the list has no rows."""
    section = next(section for section in endpoint.sections if section.page is not None)
    page = endpoint.page
    assert page is not None  # noqa: S101 - only lists have a deep cursor
    column, row_id = f'listed."{page.sort[page.default_sort].column}"', f'listed."{page.id_column}"'
    view = page.sort_view or section.view
    # names are from our own manifest
    query = (
        f"select {column}::text, {row_id} from {view} as listed"  # noqa: S608
        f' order by {column} {page.order} nulls last, {row_id} collate "C"'
        f" offset (select count(*) / 2 from {view}) limit 1"
    )
    row = connection.execute(query.encode()).fetchone()
    return None if row is None else Position(*row)


def _measure_query(
    scratch: Settings, publication: Publication, about: str, body: Mapping[str, Any], fixed: Mapping[str, str], rounds: int
) -> MeasuredQuery:
    layer = publication.contract.semantic_layer
    loaded = ma.Schema.from_dict(dict(request_fields(layer)))().load({"time_range": "90d", **body})
    query = resolve_query(layer, loaded, datetime.now(UTC).date())
    fact = choose_fact(layer, query)
    rows = rows_statement(layer, query, fact)
    with connect(scratch, "mailmart_api") as connection:
        apply_settings(connection, {**fixed, **query.settings()})
        limit = LIMIT_OF_DOMAINS_AND_LINKS if any(name in MANY for name in body.get("dimensions", ())) else LIMIT_OF_QUERIES
        return _explain(connection, "query_metrics", fact.mart, rows, about, limit, rounds)


def _explain(connection: Connection, endpoint: str, view: str, query: str, about: str, limit: int, rounds: int) -> MeasuredQuery:
    # the first plan of a connection also reads the catalogue
    _, *plannings = [_plan(connection, query, is_run=False)["Planning Time"] for _ in range(rounds + 1)]
    connection.execute(f"prepare measured as {query}".encode())
    _, *plans = [_plan(connection, "execute measured", is_run=True) for _ in range(rounds + 1)]
    measured = MeasuredQuery(
        endpoint=endpoint,
        view=view,
        about=about,
        milliseconds=median(plan["Planning Time"] + plan["Execution Time"] for plan in plans),
        planning=median(plannings),
        limit=limit,
        scanned=tuple(sorted(set(scanned_facts(plans[-1]["Plan"])))),
        plan="\n".join(line for (line,) in connection.execute(b"explain (analyze, buffers) execute measured")),
    )
    connection.execute(b"deallocate measured")
    return measured


def _plan(connection: Connection, statement: str, *, is_run: bool) -> dict[str, Any]:
    # without each node's clock, which can cost as much as the query
    options = "analyze, timing off, buffers" if is_run else "summary"
    rows = connection.execute(f"explain ({options}, format json) {statement}".encode()).fetchall()
    plan: dict[str, Any] = rows[0][0][0]
    return plan


def scanned_facts(node: Mapping[str, Any]) -> Iterator[str]:
    """The facts with a sequential scan in a plan's node or below it."""
    if node["Node Type"] == "Seq Scan" and node["Relation Name"].startswith("fct_"):
        yield node["Relation Name"]
    for child in node.get("Plans", ()):
        yield from scanned_facts(child)
