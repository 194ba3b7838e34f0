"""An exposure is an endpoint: a new one needs no Python, and an invalid one gets an error that says what to change."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import orjson
import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.contract.exposures import read_endpoints
from api.db.connection import connect
from api.errors import ContractError
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import Caller

TOY: dict[str, Any] = {
    "exposures": {
        "exposure.mailmart.toy_report": {
            "name": "toy_report",
            "label": "Get a toy report",
            "description": "How many toys there are.",
            "depends_on": {"nodes": ["model.mailmart.toys", "model.mailmart.toy_parts"]},
            "config": {
                "meta": {
                    "endpoint": {
                        "path": "/toys/{campaignId}/report",
                        "limit": 5,
                        "parameters": [{"timeRange": ["7d", "30d"]}],
                        "response": [{"object": "toys", "on_empty": "NOT_FOUND"}, {"list": "toy_parts", "path": "parts.all"}],
                    }
                }
            },
        }
    },
    "nodes": {
        "model.mailmart.toys": {
            "name": "toys",
            "schema": "marts",
            "alias": "toys",
            "description": "Toys",
            "config": {"meta": {"schema_names": {"counts": "ToyCounts"}}},
            "columns": {
                "toy_name": {
                    "name": "toy_name",
                    "description": "What it is called.",
                    "data_type": "text",
                    "config": {"meta": {"alias": "name", "example": "bear"}},
                },
                "toys": {
                    "name": "toys",
                    "description": "How many.",
                    "data_type": "bigint",
                    "config": {"meta": {"group": "counts", "example": 3}},
                },
                "price": {
                    "name": "price",
                    "description": "What one costs.",
                    "data_type": "numeric(5, 2)",
                    "config": {"meta": {"group": "counts", "nullable": True}},
                },
                "secret": {
                    "name": "secret",
                    "description": "",
                    "data_type": "xml",
                    "config": {"meta": {"hidden": True}},
                },
            },
        },
        "model.mailmart.toy_parts": {
            "name": "toy_parts",
            "schema": "marts",
            "alias": "toy_parts",
            "description": "Parts",
            "config": {"meta": {}},
            "columns": {
                "made_on": {"name": "made_on", "description": "When.", "data_type": "date", "config": {"meta": {}}},
            },
        },
    },
}


def publish(settings: Settings, contract: dict[str, Any]) -> None:
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute(
            "insert into app.batches (target, invocation_id, command, status)"
            " values ('production', gen_random_uuid()::text, 'build', 'published') returning batch_id"
        ).fetchone()
        assert row is not None
        connection.execute(
            "insert into app.publications (target, batch_id, data_as_of, contract) values ('production', %s, now(), %s)",
            (row[0], orjson.dumps(contract).decode()),
        )
        connection.execute(
            "insert into app.current_publication (target, batch_id) values ('production', %s)"
            " on conflict (target) do update set batch_id = excluded.batch_id",
            (row[0],),
        )


def test_new_exposure_becomes_an_endpoint_while_the_service_runs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.contract.publication.CACHE_TTL_SECONDS", 0.0)
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "create view marts.toys as select 'bear'::text as toy_name, 3::bigint as toys, null::numeric(5, 2) as price"
            " where current_setting('mailmart.campaign_id', true) = 't1'"
            " and current_setting('mailmart.workspace_id', true) = 'w'"
        )
        connection.execute(
            "create view marts.toy_parts as select current_setting('mailmart.range_start')::date + n as made_on"
            " from generate_series(0, 1) as n"
        )
        connection.execute("grant select on marts.toys, marts.toy_parts to mailmart_api")
    publish(settings, {"exposures": {}, "nodes": {}})
    service = WsgiApp(settings)
    try:
        caller = Caller(Client(service), create_key(settings, "w", name="toys"))
        assert caller.get("w/toys/t1/report").status_code == 404

        # published while the service runs
        publish(settings, TOY)
        data = caller.get("w/toys/t1/report", timeRange="7d").get_json()["data"]
        assert data["name"] == "bear"
        assert data["counts"] == {"toys": 3, "price": None}
        assert data["parts"]["all"][0]["made_on"] == data["time_range"]["start"][:10]
        assert caller.get("w/toys/t2/report").get_json()["error"]["code"] == "NOT_FOUND"
        assert caller.get("w/toys/t1/report", timeRange="90d").status_code == 422
        assert caller.get("w/toys/t1/report", startDate="2025-01-01").status_code == 422
        assert caller.get("v/toys/t1/report").status_code == 403

        document = caller.client.get("/openapi.json").get_json()
        operation = document["paths"]["/api/v1/workspaces/{workspaceId}/toys/{campaignId}/report"]["get"]
        assert operation["operationId"] == "getToyReport"
        assert operation["description"] == "How many toys there are."
        schemas = document["components"]["schemas"]
        assert schemas["ToyCounts"]["properties"]["price"]["type"] == ["number", "null"]
        assert schemas["ToyCounts"]["properties"]["toys"]["example"] == 3
        assert "secret" not in schemas["ToyReportData"]["properties"]
        assert schemas["TimeRangePeriodOf7dOr30d"]["enum"] == ["7d", "30d"]

        # a changed column replaces the old one in the document
        changed = deepcopy(TOY)
        column_of(changed, "toys")["config"]["meta"]["alias"] = "how_many"
        publish(settings, changed)
        assert caller.get("w/toys/t1/report").get_json()["data"]["counts"] == {"how_many": 3, "price": None}
        schemas = caller.client.get("/openapi.json").get_json()["components"]["schemas"]
        assert set(schemas["ToyCounts"]["properties"]) == {"how_many", "price"}

        # a contract that this release cannot read: the previous one is kept
        unreadable = deepcopy(TOY)
        endpoint_of(unreadable)["parameters"] = ["colour"]
        publish(settings, unreadable)
        assert caller.get("w/toys/t1/report").get_json()["data"]["counts"] == {"how_many": 3, "price": None}

        # removed
        publish(settings, {"exposures": {}, "nodes": {}})
        assert caller.get("w/toys/t1/report").status_code == 404
    finally:
        service.close()


def endpoint_of(manifest: dict[str, Any]) -> dict[str, Any]:
    endpoint: dict[str, Any] = manifest["exposures"]["exposure.mailmart.toy_report"]["config"]["meta"]["endpoint"]
    return endpoint


def column_of(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    column: dict[str, Any] = manifest["nodes"]["model.mailmart.toys"]["columns"][name]
    return column


# how to break the exposure, a part of the message, a part of the hint
INVALID: list[tuple[Callable[[dict[str, Any]], Any], str, str]] = [
    (lambda toy: endpoint_of(toy).pop("path"), "toy_report has no path", "needs path, limit"),
    (lambda toy: endpoint_of(toy).pop("limit"), "toy_report has no limit", "needs path, limit"),
    (lambda toy: endpoint_of(toy).update(paths=1), "toy_report has the unknown key paths", "Did you mean path?"),
    (lambda toy: endpoint_of(toy).update(path="toys"), "the path 'toys' is invalid", "/campaigns/{campaignId}/analytics"),
    (lambda toy: endpoint_of(toy).update(path="/toys/{campaign}"), "unknown path parameter campaign", "Did you mean campaignId?"),
    (lambda toy: endpoint_of(toy).update(parameters=["timerange"]), "unknown parameter timerange", "Did you mean timeRange?"),
    (lambda toy: endpoint_of(toy).update(parameters=["color"]), "unknown parameter color", "Known: campaignId, campaign_ids"),
    (lambda toy: endpoint_of(toy).update(parameters=[{"timeRange": ["8d"]}]), "timeRange has no choice 8d", "Known: 30d"),
    (lambda toy: endpoint_of(toy).update(method="delete"), "the method delete is not supported", "Use get or post."),
    (lambda toy: endpoint_of(toy).update(response=[{"object": "toy"}]), "does not depend on a view toy", "Did you mean toys?"),
    (lambda toy: endpoint_of(toy).update(response=[{"list": "toys"}]), "the list toys needs a path", "{list: toys, path: toys}"),
    (
        lambda toy: endpoint_of(toy).update(response=[{"path": "x"}]),
        "exactly one of object, list, not_found_if_rows",
        "first row",
    ),
    (
        lambda toy: endpoint_of(toy).update(response=[{"object": "toys", "on_empty": "NOTFOUND"}]),
        "unknown error code NOTFOUND",
        "Did you mean NOT_FOUND?",
    ),
    (
        lambda toy: endpoint_of(toy).update(response=[{"not_found_if_rows": "toys"}]),
        "not_found_if_rows and error go together",
        "error is the code of the 404",
    ),
    (lambda toy: column_of(toy, "toys").update(description=""), "column toys of toys has no description", "Add one"),
    (lambda toy: column_of(toy, "toys").update(data_type="xml"), "column toys of toys has the unsupported type 'xml'", "bigint"),
    (lambda toy: column_of(toy, "toys").update(data_type=None), "column toys of toys has the unsupported type None", "bigint"),
    (
        lambda toy: column_of(toy, "price")["config"]["meta"].update({"alias": "toys"}),
        "two columns have the same path counts.toys",
        "another alias",
    ),
    (
        lambda toy: column_of(toy, "price")["config"]["meta"].update(examples="x"),
        "column price of toys has the unknown key examples",
        "Did you mean example?",
    ),
    (
        lambda toy: column_of(toy, "price")["config"]["meta"].update(if_param={"granularities": "hour"}),
        "column price of toys, if_param: unknown parameter granularities",
        "Did you mean granularity?",
    ),
    (lambda toy: endpoint_of(toy).update(limit="ten"), "the limit 'ten' is not a positive whole number", "requests a minute"),
    (
        lambda toy: toy["exposures"]["exposure.mailmart.toy_report"].update(description=""),
        "exposure toy_report has no description",
        "Add one",
    ),
]


@pytest.mark.parametrize(("break_it", "message", "hint"), INVALID, ids=[message for _, message, _ in INVALID])
def test_invalid_exposure_gets_an_error_with_a_hint(break_it: Callable[[dict[str, Any]], Any], message: str, hint: str) -> None:
    toy = deepcopy(TOY)
    assert len(read_endpoints(toy)) == 1
    break_it(toy)
    with pytest.raises(ContractError) as raised:
        read_endpoints(toy)
    assert message in raised.value.message
    assert hint in raised.value.hint
