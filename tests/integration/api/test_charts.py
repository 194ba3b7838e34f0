"""Charts over HTTP: the endpoint's rows, its parameters, its rights, its ETags, and errors that name what there is."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from xml.etree import ElementTree as ET

import orjson
import pytest
from werkzeug.test import Client, TestResponse

from api.analytics import chart_pictures
from api.auth.api_keys import create_key
from api.contract.publication import PublicationCache
from api.db.pool import ConnectionPool
from api.drawing.drawer import DrawerBusy, DrawingFailed
from api.drawing.picture import Picture
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import HOSTILE_WORKSPACE, OTHER_WORKSPACE, Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.integration.api.serving import serving
from tests.support.waiting import wait_until

ANALYTICS = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"
COMPARE = {"campaign_ids": [CAMPAIGN, "cmp_of_mail_alone"]}


def test_a_chart_has_the_rows_of_its_endpoint(caller: Caller) -> None:
    series = caller.get(ANALYTICS, timeRange="7d").get_json()["data"]["time_series"]
    document = caller.get(f"{ANALYTICS}/charts/engagement", timeRange="7d").get_json()
    values = document["data"]["values"]
    for label in ("Opened", "Clicked", "Replied"):
        points = [(row["date"], row["value"]) for row in values if row["series"] == label]
        assert points == [(row["date"], row[label.lower()]) for row in series]
    funnel = caller.get(f"{ANALYTICS}/charts/funnel").get_json()["data"]["values"]
    assert [(row["series"], row["value"]) for row in funnel][:2] == [("Sent", 5000), ("Delivered", 4900)]


def test_a_chart_sets_parameters_of_its_endpoint(caller: Caller) -> None:
    path = f"{WORKSPACE}/analytics/engagement-heatmap/charts"
    assert len(caller.get(f"{path}/by_hour").get_json()["data"]["values"]) == 168
    assert len(caller.get(f"{path}/by_period", granularity="hour").get_json()["data"]["values"]) == 28


def test_the_chart_of_a_post_takes_the_same_body(caller: Caller) -> None:
    headers = {"Authorization": f"Bearer {caller.key}"}
    url = f"/api/v1/workspaces/{WORKSPACE}/analytics/compare/charts/intervals"
    response = caller.client.post(url, json=COMPARE, headers=headers)
    assert response.status_code == 200
    # a campaign is called by its name; this one has none
    assert {row["campaign_id"] for row in response.get_json()["data"]["values"]} == {"Q4 Outreach Campaign", "cmp_of_mail_alone"}
    missing = caller.client.post(url, json={"campaign_ids": [CAMPAIGN, "cmp_none"]}, headers=headers)
    assert (missing.status_code, missing.get_json()["error"]["code"]) == (404, "CAMPAIGN_NOT_FOUND")


def test_rights_parameters_and_errors_are_those_of_the_endpoint(caller: Caller, other_caller: Caller) -> None:
    path = f"{ANALYTICS}/charts/engagement"
    assert caller.client.get(f"/api/v1/workspaces/{path}").status_code == 401
    assert other_caller.get(path).status_code == 403
    assert caller.get(path, timeRange="8d").status_code == 422
    assert (
        caller.get(f"{WORKSPACE}/campaigns/none/analytics/charts/engagement").get_json()["error"]["code"] == "CAMPAIGN_NOT_FOUND"
    )
    error = caller.get(f"{ANALYTICS}/charts/engagment").get_json()["error"]
    assert error["code"] == "CHART_NOT_FOUND"
    assert error["details"] == {"chart": ["Did you mean engagement? Known: engagement, funnel."]}


def test_a_chart_is_cached_under_an_etag_of_its_own(caller: Caller) -> None:
    responses = [caller.get(f"{ANALYTICS}/charts/{chart}", timeRange="90d") for chart in ("engagement", "funnel", "engagement")]
    etags = [response.headers["ETag"] for response in responses]
    assert etags[0] == etags[2] != etags[1]
    assert responses[0].data == responses[2].data
    headers = {"Authorization": f"Bearer {caller.key}", "If-None-Match": etags[0]}
    url = f"/api/v1/workspaces/{ANALYTICS}/charts/engagement?timeRange=90d"
    assert caller.client.get(url, headers=headers).status_code == 304
    assert responses[0].headers["RateLimit-Limit"] == str(2 * int(caller.get(ANALYTICS).headers["RateLimit-Limit"]))


def test_charts_are_in_the_document(caller: Caller) -> None:
    paths: dict[str, Any] = caller.client.get("/openapi.json").get_json()["paths"]
    operation = paths["/api/v1/workspaces/{workspaceId}/analytics/series/charts/{chart}"]["get"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "image/svg+xml", "image/png"}
    assert {"timeRange", "format", "theme", "locale", "width", "scale"} <= {part["name"] for part in operation["parameters"]}
    assert "post" in paths["/api/v1/workspaces/{workspaceId}/analytics/compare/charts/{chart}"]


# ---- pictures


SERIES = f"/api/v1/workspaces/{WORKSPACE}/analytics/series/charts/volume"


def picture(caller: Caller, url: str = SERIES, accept: str = "*/*", etag: str = "", **query: Any) -> TestResponse:
    headers = {"Authorization": f"Bearer {caller.key}", "Accept": accept, **({"If-None-Match": etag} if etag else {})}
    return caller.client.get(url, query_string=query, headers=headers)


def test_a_chart_is_a_picture_by_accept_or_by_a_parameter(caller: Caller) -> None:
    svg = picture(caller, accept="image/svg+xml")
    assert (svg.status_code, svg.content_type, svg.headers["Vary"]) == (200, "image/svg+xml", "Accept")
    assert svg.text.startswith("<svg ")
    assert "Mail delivered and bounced" in svg.text
    assert "default-src 'none'" in svg.headers["Content-Security-Policy"]
    assert svg.headers["Content-Disposition"] == 'inline; filename="volume.svg"'
    assert picture(caller, format="svg").data == svg.data
    png = picture(caller, accept="image/png, */*;q=0.1")
    assert (png.content_type, png.data[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n")
    # the parameter comes before the header, and programs that accept anything get what they always got
    assert picture(caller, accept="image/png", format="vega-lite").content_type == "application/json"
    assert picture(caller).content_type == "application/json"
    assert picture(caller, accept="image/webp,image/*,*/*;q=0.8").content_type.startswith("image/")


def test_a_picture_has_the_numbers_of_its_document(caller: Caller) -> None:
    url = f"/api/v1/workspaces/{ANALYTICS}/charts/funnel"
    dark = picture(caller, url, format="svg", theme="dark", locale="de-DE").text
    assert ">5.000<" in dark
    assert "#191d26" in dark
    assert picture(caller, url, theme="dark").get_json()["config"] == picture(caller, url).get_json()["usermeta"]["dark"]


def test_pictures_are_cached_and_have_etags_of_their_own(caller: Caller, service: WsgiApp) -> None:
    first = picture(caller, format="svg", width=700)
    etags = {picture(caller, **{"format": "svg", "width": 700, **other}).headers["ETag"] for other in OTHERS}
    assert len(etags | {first.headers["ETag"]}) == len(OTHERS) + 1
    assert picture(caller, etag=first.headers["ETag"], format="svg", width=700).status_code == 304
    service._services.drawer.close()
    assert picture(caller, format="svg", width=700).data == first.data
    assert service._services.drawer.process_id is None


OTHERS: tuple[dict[str, Any], ...] = ({"theme": "dark"}, {"locale": "fr-FR"}, {"width": 701}, {"format": "png"})


def test_wrong_options_are_named(caller: Caller) -> None:
    for query, name in (
        ({"format": "gif"}, "format"),
        ({"theme": "sepia"}, "theme"),
        ({"locale": "tlh"}, "locale"),
        ({"width": 10_000}, "width"),
        ({"format": "png", "scale": 9}, "scale"),
        ({"colour": "red"}, "colour"),
    ):
        response = picture(caller, **query)
        assert response.status_code == 422, query
        assert list(response.get_json()["error"]["details"]) == [name]


def test_the_picture_of_a_post(caller: Caller) -> None:
    headers = {"Authorization": f"Bearer {caller.key}", "Accept": "image/svg+xml"}
    url = f"/api/v1/workspaces/{WORKSPACE}/analytics/compare/charts/intervals"
    responses = [caller.client.post(url, json={**COMPARE, "width": 500}, headers=headers) for _ in range(2)]
    assert [response.content_type for response in responses] == ["image/svg+xml"] * 2
    assert responses[0].data == responses[1].data


def test_a_busy_drawer_and_a_broken_one_say_so(caller: Caller, service: WsgiApp, monkeypatch: pytest.MonkeyPatch) -> None:
    drawer = service._services.drawer
    for error, seconds in ((DrawerBusy(), "2"), (DrawingFailed(), "60")):

        def fail(picture: Picture, error: Exception = error) -> bytes:
            raise error

        monkeypatch.setattr(drawer, "draw", fail)
        response = picture(caller, format="png", width=333)
        assert (response.status_code, response.get_json()["error"]["code"]) == (503, "CHART_UNAVAILABLE")
        assert response.headers["Retry-After"] == seconds


def test_a_workspace_has_a_number_of_pictures_drawn_in_a_minute(
    other_caller: Caller, service: WsgiApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart_pictures, "DRAWINGS_A_MINUTE", 1)
    monkeypatch.setattr(service._services.guard._limiter, "_factor", 1)
    monkeypatch.setattr(chart_pictures, "COUNTED_AS", "chart_pictures_of_this_test")
    url = SERIES.replace(WORKSPACE, OTHER_WORKSPACE)
    assert picture(other_caller, url, format="svg", width=401).status_code == 200
    refused = picture(other_caller, url, format="svg", width=402)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    # what was drawn is there, and so are documents
    assert picture(other_caller, url, format="svg", width=401).status_code == 200
    assert picture(other_caller, url).status_code == 200


def test_hostile_names_are_drawn_as_text(service: WsgiApp, warehouse_settings: Settings) -> None:
    hostile = Caller(Client(service), create_key(warehouse_settings, HOSTILE_WORKSPACE, name="pictures"))
    url = f"/api/v1/workspaces/{HOSTILE_WORKSPACE}/analytics/overview/charts/top_campaigns"
    svg = picture(hostile, url, format="svg").data
    tags = {node.tag.rpartition("}")[2] for node in ET.fromstring(svg).iter()}  # noqa: S314 - our own text
    assert not tags & {"script", "image", "foreignObject", "a"}
    assert len(svg) < 100_000
    assert picture(hostile, url, format="png").data.startswith(b"\x89PNG")


def processes_below(parent: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [parent]
    for process in found:
        found += [child for child, of in parents.items() if of == process]
    return found[1:]


def is_running(process: int) -> bool:
    """Whether a process runs; of one that has ended and that nobody waits for, the command is empty."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:
        return False


def test_a_server_that_is_killed_leaves_no_process(warehouse_settings: Settings, key: str, tmp_path: Path) -> None:
    with serving(warehouse_settings, tmp_path / "log") as service:
        request = Request(f"{service.address}{SERIES}?format=png", headers={"Authorization": f"Bearer {key}"})
        with urlopen(request, timeout=60) as response:
            assert response.read(4) == b"\x89PNG"
        started = processes_below(service.process.pid)
        commands = {process: Path(f"/proc/{process}/cmdline").read_bytes() for process in started}
        assert [process for process, command in commands.items() if b"api.drawing.child" in command]
        service.process.kill()
        service.process.wait()
        wait_until(lambda: not any(is_running(process) for process in started), "all processes have ended", seconds=30)


DRAW = """
import sys, json, vl_convert
for line in sys.stdin:
    name, document = json.loads(line)
    document["width"] = 400 if document.get("width") == "container" else document.get("width", 100)
    print(name, len(vl_convert.vegalite_to_svg(document)), flush=True)
"""


@pytest.mark.slow
def test_every_chart_of_the_project_can_be_drawn(caller: Caller, warehouse_settings: Settings) -> None:
    pool = ConnectionPool(warehouse_settings)
    pool.open()
    try:
        contract = PublicationCache(pool, "production").require().contract
    finally:
        pool.close()
    documents = []
    for endpoint in contract.endpoints:
        for chart in contract.charts.get(endpoint.name, ()):
            path = endpoint.path.replace("{campaignId}", CAMPAIGN)
            response = caller.client.open(
                f"/api/v1/workspaces/{WORKSPACE}{path}/charts/{chart.name}",
                method=endpoint.method,
                json=COMPARE if endpoint.method == "post" else None,
                headers={"Authorization": f"Bearer {caller.key}"},
            )
            assert response.status_code == 200, (endpoint.name, chart.name, response.data)
            documents.append((f"{endpoint.name}.{chart.name}", response.get_json()))
    assert len(documents) >= 9
    drawn = subprocess.run(
        [sys.executable, "-c", DRAW],
        input=b"\n".join(orjson.dumps(pair) for pair in documents),
        capture_output=True,
        check=False,
    )
    assert drawn.returncode == 0, drawn.stderr.decode()
    # a warning is on standard error: of a field that is not there, of a mark without a position
    assert drawn.stderr == b""
    assert len(drawn.stdout.splitlines()) == len(documents)
