"""Lists: every row once, in the requested order, as of one batch; and cursors that were changed or are of something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from werkzeug.test import Client

from api.analytics.cursors import decode_cursor
from api.auth.api_keys import create_key
from api.db.connection import connect
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import LARGE, LINKED, SMALL, Caller
from tests.integration.api.example import CAMPAIGN, RATES, SUMMARY, WORKSPACE

Row = dict[str, Any]
# path, key in data, id, and how many rows the tenants have
LISTS = (
    ("campaigns", "campaigns", "campaign_id", 10),
    ("mailboxes", "mailboxes", "mailbox_id", 7),
    ("domains", "domains", "domain_id", 3),
    ("mailboxes/health", "mailboxes", "mailbox_id", 7),
    ("links", "links", "link", 5),
)


@pytest.fixture(scope="module")
def tenants(two_tenants: Settings) -> Iterator[dict[str, Caller]]:
    """A caller for each of the two tenants."""
    service = WsgiApp(two_tenants)
    client = Client(service)
    yield {name: Caller(client, create_key(two_tenants, name, name="lists")) for name in (LARGE, SMALL, LINKED)}
    service.close()


def pages(caller: Caller, path: str, **query: Any) -> Iterator[Row]:
    """The `data` of each page."""
    cursor: str | None = ""
    while cursor is not None:
        response = caller.get(path, **query, **({"cursor": cursor} if cursor else {}))
        assert response.status_code == 200, response.text
        data = response.get_json()["data"]
        yield data
        cursor = data["next_cursor"]


def value_of(row: Row, name: str) -> Any:
    """Of a row or of one of its groups."""
    return row[name] if name in row else next(group[name] for group in row.values() if isinstance(group, dict) and name in group)


def in_order(rows: list[Row], name: str, row_id: str, *, is_descending: bool) -> list[Row]:
    """Sorted by a value, nulls last, then by id."""
    by_id = sorted(rows, key=lambda row: row[row_id].encode())
    present = [row for row in by_id if value_of(row, name) is not None]

    def key(row: Row) -> Any:
        value = value_of(row, name)
        return value.lower() if isinstance(value, str) else value

    # a stable sort, also in reverse: rows with the same value stay in the order of their ids
    ordered = sorted(present, key=key, reverse=is_descending)
    return ordered + [row for row in by_id if value_of(row, name) is None]


@pytest.mark.parametrize(("path", "key", "row_id", "count"), LISTS, ids=[path for path, *_ in LISTS])
def test_every_row_once_in_every_order(tenants: dict[str, Caller], path: str, key: str, row_id: str, count: int) -> None:
    document = tenants[LARGE].client.get("/openapi.json").get_json()
    operation = document["paths"][f"/api/v1/workspaces/{{workspaceId}}/{path}"]["get"]
    name = next(one for one in operation["parameters"] if one["name"] == "sort")["schema"]["$ref"].split("/")[-1]
    sorts = document["components"]["schemas"][name]["enum"]
    assert len(sorts) > 7
    for tenant in (LINKED,) if path == "links" else (LARGE, SMALL):
        caller = tenants[tenant]
        whole = caller.get(f"{tenant}/{path}", timeRange="90d", limit=200).get_json()["data"]
        assert list(whole) == ["time_range", key, "next_cursor"]
        assert (len(whole[key]), whole["next_cursor"]) == (count, None)
        for sort in sorts:
            for order in ("asc", "desc"):
                found = list(pages(caller, f"{tenant}/{path}", timeRange="90d", sort=sort, order=order, limit=2))
                rows = [row for page in found for row in page[key]]
                assert rows == in_order(whole[key], sort, row_id, is_descending=order == "desc"), (tenant, sort, order)
                assert [len(page[key]) for page in found[:-1]] == [2] * (len(found) - 1)
                assert len(found[-1][key]) in (1, 2)


def test_a_row_has_the_numbers_of_its_campaign(caller: Caller) -> None:
    data = caller.get(f"{WORKSPACE}/campaigns").get_json()["data"]
    by_id = {row["campaign_id"]: row for row in data["campaigns"]}
    assert list(by_id) == [CAMPAIGN, "cmp_of_mail_alone", "cmp_idle"]
    row = by_id[CAMPAIGN]
    assert list(row) == ["campaign_id", "campaign_name", "campaign_status", "last_sent_on", "summary", "rates"]
    assert (row["campaign_name"], row["campaign_status"]) == ("Q4 Outreach Campaign", "sending")
    assert {name: row["summary"][name] for name in SUMMARY} == SUMMARY
    assert row["rates"] == RATES
    assert row["last_sent_on"] == (datetime.now(UTC).date() - timedelta(days=10)).isoformat()
    # without mail, and without a row in the app's tables
    assert (by_id["cmp_idle"]["last_sent_on"], by_id["cmp_idle"]["summary"]["emails_sent"]) == (None, 0)
    assert (by_id["cmp_of_mail_alone"]["campaign_status"], by_id["cmp_of_mail_alone"]["summary"]["emails_sent"]) == (None, 1)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("q4", {CAMPAIGN}),
        ("OUTREACH", {CAMPAIGN}),
        ("cmp_", {CAMPAIGN, "cmp_idle", "cmp_of_mail_alone"}),
        ("CMP_OF", {"cmp_of_mail_alone"}),
        # no wildcards, and no syntax
        *((text, set()) for text in ("%", "q_ outreach", "p%4", "\\", "'", '"', "*", "ä", "\U0001f600", "cmp_idle\u0301")),
        ("_", {CAMPAIGN, "cmp_idle", "cmp_of_mail_alone"}),
    ],
)
def test_search_is_of_plain_characters_whatever_the_case(caller: Caller, search: str, found: set[str]) -> None:
    response = caller.get(f"{WORKSPACE}/campaigns", search=search)
    assert response.status_code == 200
    assert {row["campaign_id"] for row in response.get_json()["data"]["campaigns"]} == found


def test_filters(caller: Caller, tenants: dict[str, Caller]) -> None:
    def ids(path: str, key: str, row_id: str, **query: str) -> list[str]:
        return [row[row_id] for row in tenants[LARGE].get(f"{LARGE}/{path}", timeRange="90d", **query).get_json()["data"][key]]

    assert {
        row["campaign_id"] for row in caller.get(f"{WORKSPACE}/campaigns", status="Sending").get_json()["data"]["campaigns"]
    } == {
        CAMPAIGN,
        "cmp_idle",
    }
    # message n is of campaign n % 10, mailbox n % 7 and domain n % 3
    assert len(ids("campaigns", "campaigns", "campaign_id", domainId="d1")) == 10
    assert len(ids("mailboxes", "mailboxes", "mailbox_id", campaignId="c1", domainId="d0")) == 7
    assert sorted(ids("domains", "domains", "domain_id", campaignId="c1")) == ["d0", "d1", "d2"]
    for path, query, code in (
        ("campaigns", {"domainId": "nowhere"}, "DOMAIN_NOT_FOUND"),
        ("mailboxes", {"campaignId": "nowhere"}, "CAMPAIGN_NOT_FOUND"),
        ("mailboxes/health", {"domainId": "nowhere"}, "DOMAIN_NOT_FOUND"),
        ("domains", {"campaignId": "nowhere"}, "CAMPAIGN_NOT_FOUND"),
    ):
        response = tenants[LARGE].get(f"{LARGE}/{path}", **query)
        assert (response.status_code, response.get_json()["error"]["code"]) == (404, code)
    domain = tenants[LARGE].get(f"{LARGE}/domains", timeRange="90d", search="d1").get_json()["data"]["domains"][0]
    of_domain = tenants[LARGE].get(f"{LARGE}/campaigns", timeRange="90d", domainId="d1").get_json()["data"]["campaigns"]
    assert sum(row["summary"]["emails_sent"] for row in of_domain) == domain["summary"]["emails_sent"] == 1000


def test_links_of_the_mail_of_a_window(tenants: dict[str, Caller]) -> None:
    caller, path = tenants[LINKED], f"{LINKED}/links"
    data = caller.get(path).get_json()["data"]
    # 24 messages, the first of which was clicked without a URL
    assert [(row["link"], row["emails_clicked"]) for row in data["links"]] == [
        (f"https://shop.example/{page}", messages) for page, messages in zip("bcdeä", (5, 5, 5, 4, 4), strict=True)
    ]
    assert sum(row["clicks"] for row in data["links"]) == 23
    assert data["links"][0]["share_of_clicks"] == 20.83
    assert [row["campaigns"] for row in data["links"]] == [2] * 5
    of_campaign = caller.get(path, campaignId="c1", sort="link", order="asc").get_json()["data"]["links"]
    assert sum(row["clicks"] for row in of_campaign) == 12
    assert {row["campaigns"] for row in of_campaign} == {1}
    found = caller.get(path, search="EXAMPLE/B").get_json()["data"]["links"]
    assert [row["link"] for row in found] == ["https://shop.example/b"]
    response = caller.get(path, campaignId="nowhere")
    assert (response.status_code, response.get_json()["error"]["code"]) == (404, "CAMPAIGN_NOT_FOUND")
    # of other tenants, none
    assert tenants[SMALL].get(f"{SMALL}/links").get_json()["data"]["links"] == []
    assert caller.get(f"{SMALL}/links").status_code == 403


def test_the_costs_of_the_factors_make_the_score(caller: Caller) -> None:
    (row,) = caller.get(f"{WORKSPACE}/mailboxes/health").get_json()["data"]["mailboxes"]
    # 100 of 5,000 bounced, all of them softly or hard; 5 complained: at the start of both factors
    costs = sum(value for name, value in row["factors"].items() if name.endswith("_cost"))
    assert row["health_score"] == round(100 - costs)
    assert (row["mailbox_id"], row["sent_last_30_days"]) == ("mbx_1", 5000)
    overall = caller.get(f"{WORKSPACE}/analytics/deliverability").get_json()["data"]["overall"]["health_score"]
    assert row["health_score"] == overall


def test_a_changed_cursor_or_one_of_another_request_is_refused(tenants: dict[str, Caller]) -> None:
    caller, path = tenants[LARGE], f"{LARGE}/campaigns"
    query = {"timeRange": "90d", "limit": 3, "sort": "open_rate", "search": "c"}
    cursor = caller.get(path, **query).get_json()["data"]["next_cursor"]
    # another size of the page is the same list
    assert len(caller.get(path, **{**query, "limit": 5, "cursor": cursor}).get_json()["data"]["campaigns"]) == 5
    for other in (
        {"sort": "click_rate"},
        {"order": "asc"},
        {"search": "c1"},
        {"timeRange": "30d"},
        {"status": "sending"},
        {"domainId": "d1"},
    ):
        error = caller.get(path, **{**query, **other, "cursor": cursor})
        assert (error.status_code, error.get_json()["error"]["code"]) == (422, "INVALID_CURSOR"), other
        assert "another request" in error.get_json()["error"]["details"]["cursor"][0]
    for changed in (cursor[:-2], cursor + "A", cursor[:20] + ("A" if cursor[20] != "A" else "B") + cursor[21:], "x", ""):
        error = caller.get(path, **query, cursor=changed)
        assert (error.status_code, error.get_json()["error"]["code"]) == (422, "INVALID_CURSOR"), changed
    # whose checksum is right, and whose values PostgreSQL could not read
    genuine = decode_cursor(cursor)
    values: list[Any] = ["x", "", "1e5", "1\0", 7, [1], {}]
    ids: list[Any] = [None, 7, "c\0"]
    for forged in (
        *(replace(genuine, position=replace(genuine.position, value=value)) for value in values),
        *(replace(genuine, position=replace(genuine.position, row_id=row_id)) for row_id in ids),
        *(replace(genuine, day=date(year, 1, 1)) for year in (1, 9999)),
    ):
        error = caller.get(path, **query, cursor=forged.encode())
        assert (error.status_code, error.get_json()["error"]["code"]) == (422, "INVALID_CURSOR"), forged
    # of another tenant, and of another list
    for error in (
        tenants[SMALL].get(f"{SMALL}/campaigns", **query, cursor=cursor),
        caller.get(f"{LARGE}/mailboxes", **query, cursor=cursor),
    ):
        assert (error.status_code, error.get_json()["error"]["code"]) == (422, "INVALID_CURSOR")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"sort": "campaign_id"}, "sort"),
        ({"sort": "workspace_id"}, "sort"),
        ({"sort": "emails_sent; drop table x"}, "sort"),
        ({"order": "DESC"}, "order"),
        ({"limit": "201"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "1.5"}, "limit"),
        ({"search": " "}, "search"),
        ({"search": "a\0b"}, "search"),
        ({"page": "2"}, "page"),
    ],
)
def test_wrong_parameters_are_named(caller: Caller, query: dict[str, str], name: str) -> None:
    response = caller.get(f"{WORKSPACE}/campaigns", **query)
    assert (response.status_code, list(response.get_json()["error"]["details"])) == (422, [name])


def test_each_page_has_an_etag_and_is_cached(tenants: dict[str, Caller]) -> None:
    caller, path = tenants[LARGE], f"{LARGE}/campaigns"
    first = caller.get(path, limit=3)
    second = caller.get(path, limit=3, cursor=first.get_json()["data"]["next_cursor"])
    assert first.headers["ETag"] != second.headers["ETag"]
    # over the fast path, and from the cache
    assert caller.get(path, limit=3).data == first.data
    again = caller.get(path, limit=3, cursor=first.get_json()["data"]["next_cursor"])
    assert (again.data, again.headers["ETag"]) == (second.data, second.headers["ETag"])


def test_pages_after_midnight_are_of_the_same_window(tenants: dict[str, Caller], monkeypatch: pytest.MonkeyPatch) -> None:
    caller, path = tenants[LARGE], f"{LARGE}/campaigns"
    first = caller.get(path, limit=4).get_json()["data"]

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=1)

    monkeypatch.setattr("api.analytics.routes.datetime", Tomorrow)
    second = caller.get(path, limit=4, cursor=first["next_cursor"]).get_json()["data"]
    assert second["time_range"] == first["time_range"]


# what a build does to the published rows, and what it removes afterwards
PUBLISH = """
with batch as (
    insert into app.batches (target, invocation_id, command, status)
    select 'production', 'list-' || count(*), 'build', 'published' from app.batches
    returning batch_id
), published as (
    insert into app.publications (target, batch_id, data_as_of, contract)
    select 'production', batch.batch_id, publications.data_as_of + interval '1 hour', publications.contract
    from batch, app.current_publication inner join app.publications using (target, batch_id)
)
update app.current_publication set batch_id = batch.batch_id from batch returning current_publication.batch_id
"""
CLOSE = """
with closed as (
    update core.fct_campaign_days set valid_to = %(batch)s
    where workspace_id = 'large' and campaign_id = 'c9' and valid_to > 1000000000
    returning *
)
insert into core.fct_campaign_days
select (
    jsonb_populate_record(
        null::core.fct_campaign_days,
        to_jsonb(closed) || jsonb_build_object('sent', 1000, 'valid_from', %(batch)s, 'valid_to', 9223372036854775807)
    )
).*
from closed
"""


def test_pages_are_of_one_batch_or_say_that_it_is_not_published_any_more(
    own_two_tenants: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_two_tenants
    monkeypatch.setattr("api.contract.publication.CACHE_TTL_SECONDS", 0.0)
    service = WsgiApp(settings)
    try:
        caller, path = Caller(Client(service), create_key(settings, LARGE, name="lists")), f"{LARGE}/campaigns"
        query = {"timeRange": "90d", "limit": 4, "order": "asc"}
        expected = [row["campaign_id"] for row in caller.get(path, **{**query, "limit": 200}).get_json()["data"]["campaigns"]]
        assert expected == [f"c{number}" for number in range(10)]
        first = caller.get(path, **query).get_json()

        with connect(settings, "mailmart_owner") as connection:
            row = connection.execute(PUBLISH).fetchone()
            assert row is not None
            connection.execute(CLOSE, {"batch": row[0]})
        # the next build has moved c9 to the end of another order
        moved = caller.get(path, **{**query, "order": "desc"}).get_json()
        assert moved["data"]["campaigns"][0]["campaign_id"] == "c9"
        assert moved["meta"]["data_as_of"] > first["meta"]["data_as_of"]
        second = caller.get(path, **query, cursor=first["data"]["next_cursor"]).get_json()
        third = caller.get(path, **query, cursor=second["data"]["next_cursor"]).get_json()
        assert [row["campaign_id"] for page in (first, second, third) for row in page["data"]["campaigns"]] == expected
        assert {row["summary"]["emails_sent"] for page in (first, second, third) for row in page["data"]["campaigns"]} == {300}
        assert {page["meta"]["data_as_of"] for page in (first, second, third)} == {first["meta"]["data_as_of"]}

        def refused(cursor: str) -> tuple[int, str]:
            response = caller.get(path, **query, cursor=cursor)
            return response.status_code, response.get_json()["error"]["code"] if response.status_code != 200 else ""

        # an erasure changes what is published
        later = caller.get(path, **query).get_json()["data"]["next_cursor"]
        assert refused(later) == (200, "")
        with connect(settings, "mailmart_owner") as connection:
            connection.execute("update app.current_publication set revision = revision + 1")
        assert refused(later) == (400, "CURSOR_EXPIRED")
        # two publications later, the rows are removed
        kept = caller.get(path, **query).get_json()["data"]["next_cursor"]
        with connect(settings, "mailmart_owner") as connection:
            connection.execute(PUBLISH)
        assert refused(kept) == (200, "")
        with connect(settings, "mailmart_owner") as connection:
            connection.execute(PUBLISH)
        assert refused(kept) == (400, "CURSOR_EXPIRED")
        # the rows can be gone before this process reads the new publication
        last = caller.get(path, **query).get_json()["data"]["next_cursor"]
        with connect(settings, "mailmart_owner") as connection:
            connection.execute(PUBLISH)
        monkeypatch.setattr("api.contract.publication.CACHE_TTL_SECONDS", 60.0)
        assert refused(last) == (200, "")
        with connect(settings, "mailmart_owner") as connection:
            connection.execute(
                "delete from app.publications where batch_id not in (select batch_id from app.current_publication)"
            )
        response = caller.get(path, **{**query, "limit": 5, "cursor": last})
        assert (response.status_code, response.get_json()["error"]["code"]) == (400, "CURSOR_EXPIRED")
    finally:
        service.close()


def test_an_empty_workspace_has_empty_lists(two_tenants: Settings) -> None:
    service = WsgiApp(two_tenants)
    try:
        caller = Caller(Client(service), create_key(two_tenants, "new", name="lists"))
        for path, key, *_ in LISTS:
            data = caller.get(f"new/{path}", search="x").get_json()["data"]
            assert (data[key], data["next_cursor"]) == ([], None)
    finally:
        service.close()
