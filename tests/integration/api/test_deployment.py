"""A changed project is deployed and rolled back while the service runs, without a failed request."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.builds.repository import rollback
from api.db.connection import connect
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import ONE_MESSAGE, Caller
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt
from tests.support.project_copy import copied_project

# a new count of a fact, and a new column of a mart
COUNT = """\
      - name: named
        data_type: integer
        description: Messages whose recipient's domain is known.
"""
COLUMN = """\
      - name: emails_named
        data_type: bigint
        description: Messages whose recipient's domain is known.
        config: {meta: {group: summary, example: 49}}
"""


# makes the write of a fact slow, as on a large one
SLOW = """
create function core.slow_write() returns trigger language plpgsql as $$ begin perform pg_sleep(6); return null; end $$;
create trigger slow_write before update on core.fct_campaign_days for each statement execute function core.slow_write();
"""
NOT_SLOW = "drop function core.slow_write cascade"


def build(settings: Settings, *arguments: str, target_path: str = "target") -> None:
    run_dbt(settings, *WITHOUT_UNIT_TESTS, *arguments, target_path=target_path)


def summary(caller: Caller, campaign: str = "c") -> dict[str, Any]:
    content: dict[str, Any] = caller.get(f"w/campaigns/{campaign}/analytics").get_json()["data"]["summary"]
    return content


@pytest.mark.timeout(1800)
def test_new_column_is_deployed_and_rolled_back_without_a_failed_request(
    one_message: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.contract.publication.CACHE_TTL_SECONDS", 0.0)
    settings = one_message
    # without a response cache, which would hide errors of the database
    service = WsgiApp(dataclasses.replace(settings, response_cache_mb=0))
    errors: list[str] = []
    waits: list[float] = []
    stop = threading.Event()
    try:
        caller = Caller(Client(service), create_key(settings, "w", name="deployment"))

        def send_requests() -> None:
            # leave processor time to the builds
            while not stop.wait(0.05):
                began = time.monotonic()
                response = caller.get("w/campaigns/c/analytics")
                waits.append(time.monotonic() - began)
                if response.status_code != 200 or response.get_json()["data"]["summary"]["emails_sent"] != 1:
                    errors.append(response.text)

        requests = threading.Thread(target=send_requests)
        requests.start()
        try:
            changed = _changed(settings, tmp_path)
            _run(settings, SLOW)
            build(changed, "--vars", "recompute: true", target_path="changed")
            _run(settings, NOT_SLOW)
            assert max(waits) < 4
            assert summary(caller)["emails_named"] == 1
            # a mart that fails its test is never published
            failed = run_dbt(_broken(changed, tmp_path), *WITHOUT_UNIT_TESTS, target_path="broken", check=False)
            assert "FAIL 1 messages_are_counted_once" in failed.stdout
            assert summary(caller)["emails_sent"] == summary(caller)["emails_named"] == 1
            rollback(settings)
            assert "emails_named" not in summary(caller)
            # rolled back by building the original project, on a fact that has the new column by now, with a new message
            more = dataclasses.replace(ONE_MESSAGE, event_id="e2", message_id="m2", campaign_id="c2")
            load_events(settings, [more], datetime.now(UTC))
            build(settings)
            assert "emails_named" not in summary(caller)
            assert summary(caller, "c2")["emails_sent"] == 1
            # deployed again
            build(changed, "--vars", "recompute: true", target_path="changed")
            assert [summary(caller, campaign)["emails_named"] for campaign in ("c", "c2")] == [1, 1]
        finally:
            stop.set()
            requests.join()
    finally:
        service.close()
    assert errors == []
    # the views of the last two publications; the broken build published nothing
    assert len(_run(settings, "select from pg_views where viewname like 'campaign\\_performance\\_\\_%'")) == 2


def _run(settings: Settings, statement: LiteralString) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description is not None else []


def _changed(settings: Settings, folder: Path) -> Settings:
    """The project with a new count in a fact and in a mart."""
    changed = copied_project(settings, folder / "changed")
    project = changed.project_root
    core, campaign = project / "models" / "core", project / "models" / "marts" / "campaign"
    _add(
        core / "fct_campaign_days.sql",
        "            'human_clicked': {'count_if': 'is_human_clicked'},\n",
        "            'named': {'count_if': \"recipient_domain <> ''\"},\n",
    )
    _add(
        core / "_core__models.yml",
        "      - &human_clicked {name: human_clicked, data_type: integer, description: \"{{ doc('human_clicked') }}\"}\n",
        COUNT,
    )
    _add(project / "macros" / "request" / "campaign_days.sql", "    unsubscribed,\n", "    named,\n")
    mart = campaign / "campaign_performance.sql"
    text = mart.read_text()
    summed = "human_counts() + coverage_counts()"
    assert text.count(summed) == 1
    mart.write_text(text.replace(summed, f"{summed} + ['named']"))
    _add(mart, "    {{ public_counts(human_counts()) }},\n", "    named as emails_named,\n")
    _add(campaign / "_campaign__models.yml", "      - name: human_open_rate\n", COLUMN, is_before=True)
    return changed


def _broken(settings: Settings, folder: Path) -> Settings:
    """That project with every message counted twice in a mart, and a test that fails."""
    project = folder / "broken"
    shutil.copytree(settings.project_root, project)
    mart = project / "models" / "marts" / "campaign" / "campaign_performance.sql"
    text = mart.read_text()
    place = "{{ public_counts(campaign_counts()) }},"
    assert text.count(place) == 1
    mart.write_text(text.replace(place, "2 * sent as emails_sent, {{ public_counts(campaign_counts()[1:]) }},"))
    (project / "tests" / "dbt" / "messages_are_counted_once.sql").write_text(
        "select 1 as campaigns from {{ ref('campaign_performance') }} having count(*) > 0\n"
    )
    return dataclasses.replace(settings, project_root=project)


def _add(path: Path, place: str, lines: str, *, is_before: bool = False) -> None:
    text = path.read_text()
    assert text.count(place) == 1, f"{place!r} in {path.name}"
    path.write_text(text.replace(place, lines + place if is_before else place + lines))
