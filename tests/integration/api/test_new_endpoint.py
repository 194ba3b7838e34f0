"""How an analyst adds an endpoint, or a metric and a dimension of queries: SQL and YAML and `dbt build`, without Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import Caller
from tests.integration.api.test_reading_endpoints import post
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt
from tests.support.project_copy import copied_project

VIEW = """
with messages as (
    select
        recipient_domain,
        sent_at
    from {{ ref('fct_messages') }} as fct_messages
    where {{ is_visible_as_of('fct_messages') }}
)

select
    recipient_domain,
    count(*) as emails_sent
from messages
where (sent_at at time zone 'UTC')::date between {{ request_range_start() }} and {{ request_range_end() }}
group by recipient_domain
order by emails_sent desc, recipient_domain
"""
MODEL = """
models:
  - name: recipient_domains
    description: "Grain: one recipient domain of a workspace; its messages over the window."
    config: {meta: {schema_names: {".": RecipientDomain}}}
    columns:
      - name: recipient_domain
        data_type: text
        description: Where the mail went.
        config: {meta: {alias: domain, example: example.org}}
      - {name: emails_sent, data_type: bigint, description: Messages sent there., config: {meta: {example: 40}}}
exposures:
  - name: recipient_domains
    label: Get recipient domains
    type: application
    description: Where a workspace's mail went.
    owner: {name: analysts}
    depends_on: [ref('recipient_domains')]
    config:
      meta:
        endpoint:
          path: /analytics/recipient-domains
          limit: 3
          parameters: [timeRange]
          response: [{list: recipient_domains, path: domains}]
"""
# one file, and no SQL but the column of the dimension
METRICS = """
metrics:
  - name: clicks_of_human_opens
    label: Clicks of human opens
    description: Messages clicked by humans, in per cent of those that humans opened.
    type: ratio
    type_params: {numerator: human_clicked, denominator: human_opened}
  - name: mail_per_open
    label: Mail per open
    description: How many messages are sent for one that is opened.
    type: derived
    type_params: {expr: "sent / nullif(opened, 0)", metrics: [sent, opened]}
    config: {meta: {decimals: 1}}
"""
DIMENSION = """
      - name: mailbox_provider
        type: categorical
        label: Mailbox provider
        description: "{{ doc('mailbox_provider') }}"
        config: {meta: {sql: "coalesce(mailboxes.mailbox_provider, 'unknown')"}}
"""
# what an analyst may get wrong, and what the build says
WRONG_METRICS = {
    "cumulated": (
        "{name: cumulated, label: x, description: x, type: cumulative, type_params: {measure: sent}}",
        ": the API has no metrics of type cumulative, only simple, ratio and derived.",
    ),
    "typo": (
        "{name: typo, label: x, description: x, type: simple, type_params: {measure: sent}, config: {meta: {decimal: 0}}}",
        ": config.meta has the unknown key decimal. Known: hidden.",
    ),
    "cell_open_rate": (
        "{name: cell_open_rate, label: x, description: x, type: ratio, type_params: {numerator: opened, denominator: delivered}}",
        ": its denominator is delivered, but sent in macros/metrics/rates.sql. A rate has one definition.",
    ),
}


@dataclass(frozen=True)
class Scratch:
    """A copy of the project with an endpoint, metrics and a dimension more, built and published."""

    settings: Settings
    client: Client
    caller: Caller


@pytest.fixture(scope="module")
def scratch(module_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    settings = module_settings
    yesterday = datetime.now(UTC) - timedelta(days=1)
    load_events(
        settings,
        [
            Event(f"{kind}{number}", workspace, f"m{number}", kind, yesterday, mailbox_id=f"box{number}", recipient_domain=domain)
            for number, (workspace, domain) in enumerate([("w", "a.test"), ("w", "b.test"), ("w", "b.test"), ("other", "c.test")])
            for kind in ("sent", "delivered", *(("opened",) if number < 2 else ()), *(("clicked",) if number == 0 else ()))
        ],
        datetime.now(UTC) - timedelta(hours=1),
    )
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "insert into raw.mailboxes (mailbox_id, workspace_id, domain_id, email, provider, status)"
            " values ('box0', 'w', null, 'a@w.test', 'ses', 'active')"
        )
    copy = copied_project(settings, tmp_path_factory.mktemp("project") / "scratch")
    marts = copy.project_root / "models" / "marts"
    (marts / "workspace" / "recipient_domains.sql").write_text(VIEW)
    (marts / "workspace" / "_recipient_domains.yml").write_text(MODEL)
    (marts / "query" / "_our_metrics.yml").write_text(METRICS)
    semantic_models = marts / "query" / "_query__semantic_models.yml"
    before, name, after = semantic_models.read_text().partition("  - name: campaign_days\n")
    semantic_models.write_text(before + name + after.replace("    dimensions:\n", f"    dimensions:{DIMENSION}", 1))
    project = dataclasses.replace(copy, rate_limit_factor=1, redis_url="unix:///nowhere/valkey.sock")
    run_dbt(project, *WITHOUT_UNIT_TESTS, target_path="scratch")
    service = WsgiApp(project)
    client = Client(service)
    yield Scratch(project, client, Caller(client, create_key(settings, "w", name="toy")))
    service.close()


@pytest.mark.timeout(720)
def test_view_and_yaml_become_an_endpoint(scratch: Scratch) -> None:
    client, caller = scratch.client, scratch.caller
    # documented
    operation = client.get("/openapi.json").get_json()["paths"]["/api/v1/workspaces/{workspaceId}/analytics/recipient-domains"][
        "get"
    ]
    assert operation["operationId"] == "getRecipientDomains"
    assert [parameter["name"] for parameter in operation["parameters"]] == ["timeRange", "startDate", "endDate"]
    # returns the tenant's rows, cached
    response = caller.get("w/analytics/recipient-domains")
    assert response.get_json()["data"]["domains"] == [
        {"domain": "b.test", "emails_sent": 2},
        {"domain": "a.test", "emails_sent": 1},
    ]
    assert response.headers["ETag"]
    # authorized, validated, rate-limited
    assert Caller(client, "").get("w/analytics/recipient-domains").status_code == 401
    assert caller.get("other/analytics/recipient-domains").status_code == 403
    assert caller.get("w/analytics/recipient-domains", timeRange="1y").status_code == 422
    assert caller.get("w/analytics/recipient-domains").headers["RateLimit-Remaining"] == "0"
    assert caller.get("w/analytics/recipient-domains").status_code == 429


def test_yaml_becomes_a_metric_and_a_dimension_of_queries(scratch: Scratch) -> None:
    schemas = scratch.client.get("/openapi.json").get_json()["components"]["schemas"]
    assert "mail_per_open" in schemas["QueryMetric"]["enum"]
    assert "mailbox_provider" in schemas["QueryDimension"]["enum"]
    body = {"metrics": ["clicks_of_human_opens", "mail_per_open"], "dimensions": ["mailbox_provider"]}
    content = post(scratch.caller, "w/analytics/query", body).get_json()
    assert content["data"]["totals"]["clicks_of_human_opens"] == {"value": 50.0, "low": 9.45, "high": 90.55}
    assert {
        row["dimensions"]["mailbox_provider"]: row["metrics"]["mail_per_open"]["value"] for row in content["data"]["rows"]
    } == {
        "ses": 1.0,
        "unknown": 2.0,
    }
    assert content["meta"]["definitions"]["mail_per_open"]["formula"] == "sent / nullif(opened, 0)"
    assert content["meta"]["definitions"]["mailbox_provider"]["description"] == "Who hosts the mailbox."


@pytest.mark.parametrize("name", WRONG_METRICS)
def test_a_wrong_metric_stops_the_build(scratch: Scratch, name: str) -> None:
    metric, message = WRONG_METRICS[name]
    file = scratch.settings.project_root / "models" / "marts" / "query" / "_wrong.yml"
    file.write_text(f"metrics:\n  - {metric}\n")
    try:
        completed = run_dbt(scratch.settings, "compile", "--select", "query_campaign_days", target_path="scratch", check=False)
    finally:
        file.unlink()
    assert completed.returncode != 0
    assert f"metric {name}{message}" in " ".join(completed.stdout.split())
