"""How an analyst adds an endpoint: a view, some YAML and `dbt build`, without Python."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import Caller
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


@pytest.mark.timeout(720)
def test_view_and_yaml_become_an_endpoint(settings: Settings, tmp_path: Path) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    load_events(
        settings,
        [
            Event(f"e{number}", workspace, f"m{number}", "sent", yesterday, campaign_id="c", recipient_domain=domain)
            for number, (workspace, domain) in enumerate([("w", "a.test"), ("w", "b.test"), ("w", "b.test"), ("other", "c.test")])
        ],
        datetime.now(UTC) - timedelta(hours=1),
    )
    copy = copied_project(settings, tmp_path / "scratch")
    marts = copy.project_root / "models" / "marts" / "workspace"
    (marts / "recipient_domains.sql").write_text(VIEW)
    (marts / "_recipient_domains.yml").write_text(MODEL)
    scratch = dataclasses.replace(copy, rate_limit_factor=1, redis_url="unix:///nowhere/valkey.sock")
    run_dbt(scratch, *WITHOUT_UNIT_TESTS, target_path="scratch")
    service = WsgiApp(scratch)
    try:
        client = Client(service)
        caller = Caller(client, create_key(settings, "w", name="toy"))
        # documented
        operation = client.get("/openapi.json").get_json()["paths"][
            "/api/v1/workspaces/{workspaceId}/analytics/recipient-domains"
        ]["get"]
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
    finally:
        service.close()
