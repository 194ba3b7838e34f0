"""Random queries that some fact can answer, sent to the API a page at a time."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from werkzeug.test import Client

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse.events import ZONES
from tests.integration.warehouse.reference_query import DERIVED, RATES, Counted
from tests.support.dbt import run_dbt

ENGAGEMENT = ("sent", "opened", "clicked", "replied", "click_to_open_rate", "engagement_score")
OF_MAILBOXES = (
    "sent",
    "delivered",
    "bounced",
    "hard_bounced",
    "complained",
    "unsubscribed",
    *DERIVED,
    "delivery_rate",
    "bounce_rate",
    "hard_bounce_rate",
    "soft_bounce_rate",
    "spam_rate",
    "unsubscribe_rate",
    "estimated_inbox_placement_rate",
)
ALL = (*OF_MAILBOXES, *ENGAGEMENT, "human_opened", "human_clicked", "opens_and_clicks", "classified_opens_and_clicks", *RATES)
BY_EVENT = tuple(
    name for name in dict.fromkeys(ALL) if name not in ("opens_and_clicks", "classified_opens_and_clicks", "human_coverage")
)
# a name for what is there in the marts' facts: what is counted, dimensions, metrics, and whether hours are known
KINDS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], bool], ...] = (
    ("sent", ("weekday", "hour_of_day"), ENGAGEMENT, True),
    ("sent", ("mailbox", "domain", "weekday"), OF_MAILBOXES, False),
    ("sent", ("campaign", "mailbox", "domain", "weekday"), tuple(dict.fromkeys(ALL)), False),
    ("sent", ("weekday", "hour_of_day"), BY_EVENT, True),
    ("sent", ("campaign", "weekday", "hour_of_day"), BY_EVENT, True),
    ("sent", ("mailbox", "domain", "weekday", "hour_of_day"), OF_MAILBOXES, True),
    ("sent", ("campaign", "bounce_reason", "weekday", "hour_of_day"), ("bounced",), True),
    ("sent", ("campaign", "mailbox", "domain", "bounce_reason", "weekday"), ("bounced",), False),
    ("sent", ("recipient_provider", "weekday"), (*OF_MAILBOXES, "deferred", "opened", "open_rate", "reply_rate"), False),
    ("sent", ("campaign", "recipient_provider", "weekday"), (*dict.fromkeys(ALL), "deferred"), False),
    (
        "sent",
        ("campaign", "recipient_domain", "recipient_provider", "weekday"),
        (*BY_EVENT, "deferred"),
        False,
    ),
    ("sent", ("campaign", "sequence", "step", "variant", "weekday"), tuple(dict.fromkeys(ALL)), False),
    ("clicks", ("campaign", "link", "weekday"), ("clicks", "human_clicks"), False),
    ("event", ("provider", "event_type", "weekday"), ("events",), False),
    ("mail by event", ("campaign", "mailbox", "domain", "weekday"), BY_EVENT, False),
)


@dataclass(frozen=True)
class QueryCaller:
    """Sends queries with a key of a workspace."""

    client: Client
    workspace_id: str
    key: str

    def all_pages(self, body: Mapping[str, Any]) -> tuple[list[Any], Any]:
        """The rows of all pages, and the totals."""
        rows: list[Any] = []
        page = dict(body)
        while True:
            response = self.client.post(
                f"/api/v1/workspaces/{self.workspace_id}/analytics/query",
                json=page,
                headers={"Authorization": f"Bearer {self.key}"},
            )
            content = response.get_json()
            assert response.status_code == 200, (content, body)
            rows += content["data"]["rows"]
            if content["meta"]["next_cursor"] is None:
                return rows, content["data"]["totals"]
            page["cursor"] = content["meta"]["next_cursor"]


def random_query(
    chance: random.Random, of_basis: Mapping[str, Sequence[Counted]], first_day: date, today: date, zone: str
) -> tuple[str, dict[str, Any]]:
    """What is counted (a key of `of_basis`), and the body of a query, with a custom time range."""
    basis, names, known, has_hours = chance.choice(KINDS)
    metrics = chance.sample(known, k=min(len(known), chance.randint(1, 5)))
    dimensions = chance.sample(names, k=min(len(names), chance.choice((0, 1, 1, 2, 2, 3))))
    granularities = ("", "", "day", "week", "month", *(("hour", "hour") if has_hours else ()))
    granularity = chance.choice(granularities)
    start = chance.choice((first_day, first_day + timedelta(days=1), first_day - timedelta(days=3), today - timedelta(days=30)))
    days = chance.choice((1, 2, 7, 8, 30)) if granularity == "hour" and not dimensions else chance.choice((1, 7, 8, 31, 90))
    fields = [*metrics, *dimensions, *(["time"] if granularity else [])]
    body: dict[str, Any] = {
        "metrics": metrics,
        "dimensions": dimensions,
        "basis": "event" if basis in ("event", "mail by event") else "sent",
        "time_range": "custom",
        "start_date": start.isoformat(),
        "end_date": (start + timedelta(days=days - 1)).isoformat(),
        "filters": [
            _random_filter(chance, name, of_basis[basis]) for name in chance.sample(names, k=chance.choice((0, 0, 0, 1, 2)))
        ],
        "order_by": [
            {"field": field, "direction": chance.choice(("asc", "desc"))}
            for field in chance.sample(fields, k=min(len(fields), chance.choice((0, 0, 1, 2, 3))))
        ],
        "limit": chance.choice((1000, 1000, 300, 40)),
    }
    if granularity:
        body["granularity"] = granularity
    if has_hours and chance.random() < 0.7:
        # mostly the zone whose clocks change during the mail
        body["timezone"] = chance.choice((zone, zone, chance.choice(ZONES)))
    if chance.random() < 0.4:
        body["compare"] = chance.choice(("previous_period", "previous_period", "previous_year"))
    return basis, body


def publish_unfinished_build(settings: Settings) -> None:
    """Publishes the last batch, whose data tests were not run."""
    compiled = run_dbt(settings, "compile", "--quiet", "--inline", "{{ tojson(published_contract()) if execute }}").stdout
    contract = json.loads(compiled[compiled.index("{") :])
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("delete from app.current_publication")
        connection.execute(
            "insert into app.publications (target, batch_id, data_as_of, contract)"
            " select target, batch_id, now(), %s from app.batches order by batch_id desc limit 1",
            (json.dumps(contract),),
        )
        connection.execute(
            "insert into app.current_publication (target, batch_id) select target, batch_id from app.publications"
            " order by batch_id desc limit 1"
        )


def _random_filter(chance: random.Random, dimension: str, counted: Sequence[Counted]) -> dict[str, Any]:
    if dimension == "weekday":
        values = ["1", "2", "3", "4", "5", "6", "7"]
    elif dimension == "hour_of_day":
        values = [str(hour) for hour in range(24)]
    else:
        values = sorted({item.dimensions.get(dimension, "") for item in counted} | {"nobody", ""})
    return {
        "dimension": dimension,
        "operator": chance.choice(("in", "not_in")),
        "values": chance.sample(values, k=min(len(values), chance.randint(1, 5))),
    }
