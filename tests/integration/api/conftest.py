"""A warehouse with the specification's example and another tenant, and the service in front of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from api.auth.api_keys import create_key
from api.auth.principal import SCOPES
from api.db.connection import connect
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.example import CAMPAIGN, WORKSPACE, example_events
from tests.integration.api.serving import serving
from tests.integration.conftest import MakeWarehouse
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt

OTHER_WORKSPACE = "ws_other"
# of the other workspace, without mail
SLASH_CAMPAIGN = "cmp/with a slash, 100 %"
# its campaigns have names that would harm a careless page
HOSTILE_WORKSPACE = "ws_hostile"
HOSTILE_NAMES = {
    "cmp_markup": "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>{{7*7}}",
    "cmp_long": "long " * 200_000,
    "cmp_rtl": "\u202eמבצע\u202c \u0644\u064a\u0644",
}
# the only message of the workspace "w"
ONE_MESSAGE = Event("e0", "w", "m0", "sent", datetime.now(UTC) - timedelta(days=1), campaign_id="c", recipient_domain="x.example")
# two tenants of one warehouse, and how many messages each has sent in DAYS, with ten campaigns
LARGE, SMALL, LINKED = "large", "small", "linked"
MESSAGES = {LARGE: 3_000, SMALL: 20}
DAYS = 60


@pytest.fixture(scope="session")
def warehouse_settings(make_warehouse: MakeWarehouse) -> Settings:
    """The example campaign; beside it one without mail, one that only its mail knows; and another tenant with the same ids."""
    return make_warehouse("example", fill_example)


def fill_example(settings: Settings) -> None:
    """Loads the mail of both workspaces, builds and publishes."""
    now = datetime.now(UTC)
    with connect(settings, "mailmart_owner") as connection:
        for campaign, workspace, name in (
            (CAMPAIGN, WORKSPACE, "Q4 Outreach Campaign"),
            ("cmp_idle", WORKSPACE, "Idle"),
            ("cmp_theirs", OTHER_WORKSPACE, "Theirs"),
            (SLASH_CAMPAIGN, OTHER_WORKSPACE, "With a slash"),
            *((campaign, HOSTILE_WORKSPACE, name) for campaign, name in HOSTILE_NAMES.items()),
        ):
            connection.execute(
                "insert into raw.campaigns (campaign_id, workspace_id, name, status) values (%s, %s, %s, 'sending')",
                (campaign, workspace, name),
            )
    theirs = [
        Event(f"t{number}", OTHER_WORKSPACE, f"example-{number}", "sent", now - timedelta(days=1), campaign_id=campaign)
        for number, campaign in enumerate([CAMPAIGN] * 7 + ["cmp_theirs"] * 3)
    ]
    unknown = Event("u1", WORKSPACE, "u1", "sent", now - timedelta(days=1), campaign_id="cmp_of_mail_alone")
    hostile = [
        Event(f"h_{campaign}_{kind}", HOSTILE_WORKSPACE, f"h_{campaign}", kind, now - timedelta(days=1), campaign_id=campaign)
        for campaign in HOSTILE_NAMES
        for kind in ("sent", "delivered", "opened")
    ]
    load_events(settings, [*example_events(), *theirs, unknown, *hostile], now - timedelta(hours=1))
    run_dbt(settings, *WITHOUT_UNIT_TESTS)


@pytest.fixture
def one_message(make_warehouse: MakeWarehouse) -> Settings:
    """A published build of one message, ONE_MESSAGE; a copy of the test's own."""
    return make_warehouse("one_message", _fill_one_message)


def _fill_one_message(settings: Settings) -> None:
    delivered = dataclasses.replace(ONE_MESSAGE, event_id="d0", event_type="delivered")
    load_events(settings, [ONE_MESSAGE, delivered], datetime.now(UTC) - timedelta(hours=1))
    run_dbt(settings, *WITHOUT_UNIT_TESTS)


@pytest.fixture(scope="session")
def two_tenants(make_warehouse: MakeWarehouse) -> Settings:
    """A large and a small tenant, with statistics."""
    return make_warehouse("two_tenants", _fill_two_tenants)


@pytest.fixture
def own_two_tenants(make_warehouse: MakeWarehouse) -> Settings:
    """The same, a copy of the test's own."""
    return make_warehouse("two_tenants", _fill_two_tenants)


def _fill_two_tenants(settings: Settings) -> None:
    now = datetime.now(UTC) - timedelta(hours=2)
    events = []
    for workspace, messages in MESSAGES.items():
        for number in range(messages):
            sent_at = now - timedelta(days=number % DAYS, minutes=number % 600)
            message = f"{workspace}-{number}"
            kind = ("delivered", "opened", "clicked", "bounced")[number % 4]
            sent = Event(
                f"{message}-s",
                workspace,
                message,
                "sent",
                sent_at,
                campaign_id=f"c{number % 10}",
                mailbox_id=f"b{number % 7}",
                domain_id=f"d{number % 3}",
                recipient_domain=f"d{number % 5}.example",
            )
            events += [
                sent,
                dataclasses.replace(sent, event_id=f"{message}-e", event_type=kind, occurred_at=sent_at + timedelta(minutes=5)),
            ]
    load_events(settings, [*events, *_clicked(now)], now + timedelta(hours=1))
    run_dbt(settings, *WITHOUT_UNIT_TESTS)
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        connection.execute("analyze")


def _clicked(now: datetime) -> Iterator[Event]:
    """Messages of a third tenant, each clicked at one of five links, and one at a click without a URL."""
    for number in range(24):
        for minutes, kind in enumerate(("sent", "delivered", "clicked")):
            yield Event(
                f"l{number}-{kind}",
                LINKED,
                f"l{number}",
                kind,
                now - timedelta(days=1 + number % 7, minutes=-minutes),
                campaign_id=f"c{number % 2}",
                url=f"https://Shop.example/{'äbcde'[number % 5]}?utm_source=x" if kind == "clicked" and number else None,
            )


@dataclass(frozen=True)
class Caller:
    """Calls the service in this process with an API key."""

    client: Client
    key: str

    def get(self, path: str, **query: Any) -> TestResponse:
        """GET of a path below /api/v1/workspaces."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return self.client.get(f"/api/v1/workspaces/{path}", query_string=query, headers=headers)


@pytest.fixture(scope="session")
def service(warehouse_settings: Settings) -> Iterator[WsgiApp]:
    app = WsgiApp(warehouse_settings)
    yield app
    app.close()


@pytest.fixture(scope="session")
def key(warehouse_settings: Settings) -> str:
    return create_key(warehouse_settings, WORKSPACE, name="tests", scopes=SCOPES)


@pytest.fixture(scope="session")
def caller(service: WsgiApp, key: str) -> Caller:
    """With a key of the example workspace."""
    return Caller(Client(service), key)


@pytest.fixture(scope="session")
def other_caller(service: WsgiApp, warehouse_settings: Settings) -> Caller:
    """With a key of the other tenant."""
    return Caller(Client(service), create_key(warehouse_settings, OTHER_WORKSPACE, name="tests"))


@pytest.fixture(scope="session")
def running(warehouse_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `mailmart serve`, running in its own process."""
    with serving(warehouse_settings, tmp_path_factory.mktemp("serve") / "log") as service:
        yield service.address
