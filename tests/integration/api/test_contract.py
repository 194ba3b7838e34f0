"""An exposure is an endpoint: another one works without a line of Python, and a bad one says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import orjson
import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.contract.exposures import read_contract
from api.db.connection import connect
from api.errors import ContractError
from api.server.app import Service
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


def test_another_exposure_is_another_endpoint(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
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
    service = Service(settings)
    try:
        caller = Caller(Client(service), create_key(settings, "w", name="toys"))
        assert caller.get("w/toys/t1/report").status_code == 404

        # published while the service runs
        publish(settings, TOY)
        found = caller.get("w/toys/t1/report", timeRange="7d").get_json()["data"]
        assert found["name"] == "bear"
        assert found["counts"] == {"toys": 3, "price": None}
        assert found["parts"]["all"][0]["made_on"] == found["time_range"]["start"][:10]
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

        # a column of it changed: nothing of the old document is left
        changed = deepcopy(TOY)
        column_of(changed, "toys")["config"]["meta"]["alias"] = "how_many"
        publish(settings, changed)
        assert caller.get("w/toys/t1/report").get_json()["data"]["counts"] == {"how_many": 3, "price": None}
        schemas = caller.client.get("/openapi.json").get_json()["components"]["schemas"]
        assert set(schemas["ToyCounts"]["properties"]) == {"how_many", "price"}

        # one that this release does not understand
        strange = deepcopy(TOY)
        endpoint_of(strange)["parameters"] = ["colour"]
        publish(settings, strange)
        assert caller.get("w/toys/t1/report").get_json()["data"]["counts"] == {"how_many": 3, "price": None}

        # and taken back
        publish(settings, {"exposures": {}, "nodes": {}})
        assert caller.get("w/toys/t1/report").status_code == 404
    finally:
        service.close()


def endpoint_of(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["exposures"]["exposure.mailmart.toy_report"]["config"]["meta"]["endpoint"]
    return found


def column_of(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = manifest["nodes"]["model.mailmart.toys"]["columns"][name]
    return found


BAD: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda toy: endpoint_of(toy).pop("path"), "toy_report has no path"),
    (lambda toy: endpoint_of(toy).pop("limit"), "toy_report has no limit"),
    (lambda toy: endpoint_of(toy).update(paths=1), "toy_report has paths, which nothing reads"),
    (lambda toy: endpoint_of(toy).update(path="toys"), "the path 'toys' is none"),
    (lambda toy: endpoint_of(toy).update(path="/toys/{toyId}"), "nothing is known of the path's parameter toyId"),
    (lambda toy: endpoint_of(toy).update(parameters=["color"]), "nothing is known of the parameter color"),
    (lambda toy: endpoint_of(toy).update(parameters=[{"timeRange": ["8d"]}]), "timeRange has no choice 8d"),
    (lambda toy: endpoint_of(toy).update(method="delete"), "the method delete"),
    (
        lambda toy: endpoint_of(toy).update(response=[{"object": "bears"}]),
        "the view bears is not among what it depends on",
    ),
    (lambda toy: endpoint_of(toy).update(response=[{"list": "toys"}]), "the list toys needs a path"),
    (lambda toy: endpoint_of(toy).update(response=[{"path": "x"}]), "has one of object, list, not_found_if_rows"),
    (lambda toy: column_of(toy, "toys").update(description=""), "column toys of toys has no description"),
    (lambda toy: column_of(toy, "toys").update(data_type="xml"), "column toys of toys has the type 'xml'"),
    (lambda toy: column_of(toy, "toys").update(data_type=None), "column toys of toys has the type None"),
    (
        lambda toy: column_of(toy, "price")["config"]["meta"].update({"alias": "toys"}),
        "two columns have the same path counts.toys",
    ),
    (
        lambda toy: column_of(toy, "price")["config"]["meta"].update(at="x"),
        "column price of toys has at, which nothing reads",
    ),
    (
        lambda toy: toy["exposures"]["exposure.mailmart.toy_report"]["config"]["meta"]["endpoint"].update(limit="ten"),
        "exposure toy_report: the limit 'ten' is none",
    ),
    (
        lambda toy: toy["exposures"]["exposure.mailmart.toy_report"].update(description=""),
        "exposure toy_report has no description",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_exposure_says_what_is_wrong(spoil: Callable[[dict[str, Any]], Any], message: str) -> None:
    toy = deepcopy(TOY)
    assert len(read_contract(toy)) == 1
    spoil(toy)
    with pytest.raises(ContractError, match=message.replace("(", r"\(")):
        read_contract(toy)
