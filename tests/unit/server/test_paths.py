"""What a route sees of a path: ids with any character, whatever the server, and below a proxy's path."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

import pytest
from flask import Flask
from werkzeug.test import Client

from api.web.paths import IdConverter, prepare_path, resource_path

IDS = (
    "a/b",
    "/",
    "a%2Fb",
    "a%252Fb",
    "%",
    "100%",
    "%2F",
    "%25",
    "a;b=c",
    "a?b",
    "a#b",
    "a b",
    " ",
    "a+b",
    "a:b@c",
    "..",
    ".",
    "../..",
    "ä/ö",
    "日本/語",
    "\\",
    '"',
    "&",
    "a\u202eb",
)


def route(environ: dict[str, str], prefix: str = "") -> tuple[int, str]:
    """The status, and the id that the route got."""
    app = Flask(__name__)
    app.url_map.merge_slashes = False
    app.url_map.converters |= {"default": IdConverter, "string": IdConverter}
    app.add_url_rule("/campaigns/<string:campaign>/analytics", view_func=lambda campaign: campaign, endpoint="campaign")

    def service(request_environ: dict[str, str], start_response: object) -> object:
        for key in ("REQUEST_URI", "RAW_URI"):
            request_environ.pop(key, None)
        request_environ.update(environ)
        prepare_path(request_environ, prefix)
        return app(request_environ, start_response)  # type: ignore[arg-type]

    response = Client(service).get("/")  # type: ignore[arg-type]
    return response.status_code, response.get_data(as_text=True)


def environ_of(raw: str) -> dict[str, str]:
    """As servers make it: the decoded path, and the raw one."""
    return {"PATH_INFO": unquote_to_bytes(raw).decode("latin-1"), "REQUEST_URI": raw}


@pytest.mark.parametrize("campaign", IDS)
def test_an_encoded_id_reaches_its_route(campaign: str) -> None:
    raw = f"/campaigns/{quote(campaign, safe='')}/analytics"
    assert route(environ_of(raw)) == (200, campaign)
    # a client may also send it in lower case, with a query, or as a whole URL
    assert route(environ_of(raw.replace("%2F", "%2f").replace("%C3", "%c3")) | {"QUERY_STRING": "a=b"}) == (200, campaign)
    assert route({**environ_of(raw), "REQUEST_URI": f"https://x.example{raw}?a=%2F"}) == (200, campaign)
    assert route(environ_of(f"/mail{raw}"), "/mail") == (200, campaign)


def test_a_slash_that_is_not_encoded_separates() -> None:
    assert route(environ_of("/campaigns/a/b/analytics"))[0] == 404
    assert route(environ_of("/campaigns//analytics"))[0] == 404


def test_a_server_that_hides_the_raw_path_still_routes() -> None:
    assert route({"PATH_INFO": "/campaigns/100%/analytics"}) == (200, "100%")
    assert route({"PATH_INFO": "/campaigns/%2F/analytics"}) == (200, "%2F")


def test_a_proxy_may_remove_its_path_or_not() -> None:
    for raw in ("/mail/campaigns/c/analytics", "/campaigns/c/analytics"):
        assert route(environ_of(raw), "/mail") == (200, "c")
    assert route(environ_of("/mailbox/campaigns/c/analytics"), "/mail")[0] == 404
    assert route(environ_of("/mail/campaigns/c/analytics"), "")[0] == 404


def test_location_is_ascii() -> None:
    assert resource_path("/mail", "wörk/1", "exports/exp_1") == "/mail/api/v1/workspaces/w%C3%B6rk%2F1/analytics/exports/exp_1"
