"""A changed project is deployed, and taken back, while the service runs: its requests go on."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.builds.repository import rollback
from api.db.connection import connect
from api.server.app import Service
from api.settings import PROJECT_ROOT, Settings
from tests.integration.api.conftest import Caller
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import run_dbt

# a count that the fact does not have yet, and what a mart makes of it
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


# the write of a large fact takes its time
SLOW = """
create function core.wait_a_while() returns trigger language plpgsql as $$ begin perform pg_sleep(6); return null; end $$;
create trigger wait_a_while before update on core.fct_campaign_days for each statement execute function core.wait_a_while();
"""
SLOW_NO_MORE = "drop function core.wait_a_while cascade"

SENT = Event("s", "w", "m", "sent", datetime.now(UTC) - timedelta(days=1), campaign_id="c", recipient_domain="x.example")


def build(settings: Settings, *arguments: str, target_path: str = "target") -> None:
    run_dbt(settings, "build", "--exclude-resource-type", "unit_test", *arguments, target_path=target_path)


def summary(caller: Caller, campaign: str = "c") -> dict[str, Any]:
    found: dict[str, Any] = caller.get(f"w/campaigns/{campaign}/analytics").get_json()["data"]["summary"]
    return found


@pytest.mark.timeout(600)
def test_a_column_more_and_back(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.contract.publication.CACHE_TTL_SECONDS", 0.0)
    load_events(
        settings,
        [SENT, dataclasses.replace(SENT, event_id="d", event_type="delivered")],
        datetime.now(UTC) - timedelta(hours=1),
    )
    build(settings)
    # an answer that is kept would hide what the warehouse says meanwhile
    service = Service(dataclasses.replace(settings, response_cache_mb=0))
    errors: list[str] = []
    waits: list[float] = []
    stop = threading.Event()
    try:
        caller = Caller(Client(service), create_key(settings, "w", name="deployment"))

        def keep_asking() -> None:
            # the builds need the processor as well
            while not stop.wait(0.02):
                began = time.monotonic()
                answer = caller.get("w/campaigns/c/analytics")
                waits.append(time.monotonic() - began)
                if answer.status_code != 200 or answer.get_json()["data"]["summary"]["emails_sent"] != 1:
                    errors.append(answer.text)

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            changed = _changed(settings, tmp_path)
            _run(settings, SLOW)
            build(changed, "--vars", "recompute: true", target_path="changed")
            _run(settings, SLOW_NO_MORE)
            assert max(waits) < 4
            assert summary(caller)["emails_named"] == 1
            rollback(settings)
            assert "emails_named" not in summary(caller)
            # the project as it was, on a fact that has the column by now, with something new for it
            load_events(
                settings, [dataclasses.replace(SENT, event_id="s2", message_id="m2", campaign_id="c2")], datetime.now(UTC)
            )
            build(settings)
            assert "emails_named" not in summary(caller)
            assert summary(caller, "c2")["emails_sent"] == 1
            # and deployed again
            build(changed, "--vars", "recompute: true", target_path="changed")
            assert [summary(caller, campaign)["emails_named"] for campaign in ("c", "c2")] == [1, 1]
            # a mart that is wrong, which its tests find out: nothing of it is ever served
            run_dbt(_broken(changed, tmp_path), "build", target_path="broken", check=False)
            assert summary(caller)["emails_sent"] == summary(caller)["emails_named"] == 1
            # taken back by building the project as it was, without going back first
            build(settings)
            assert "emails_named" not in summary(caller)
        finally:
            stop.set()
            asking.join()
    finally:
        service.close()
    assert errors == []
    # of the last two publications; the broken one was none
    assert len(_run(settings, "select from pg_views where viewname like 'campaign\\_performance\\_\\_%'")) == 2


def _run(settings: Settings, statement: LiteralString) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description is not None else []


def _changed(settings: Settings, folder: Path) -> Settings:
    """The project with a count more in a fact and in a mart."""
    project = folder / "changed"
    shutil.copytree(PROJECT_ROOT, project, ignore=shutil.ignore_patterns(".*", "target", "logs", "build", "tests", "*.egg-info"))
    (project / "tests" / "dbt").mkdir(parents=True)
    core, campaign = project / "models" / "core", project / "models" / "marts" / "campaign"
    _add(
        core / "fct_campaign_days.sql",
        "        ['human_clicked', 'is_human_clicked'],\n",
        "        ['named', \"recipient_domain <> ''\"],\n",
    )
    _add(
        core / "_core__models.yml",
        "      - {name: human_clicked, data_type: integer, description: \"{{ doc('human_clicked') }}\"}\n",
        COUNT,
    )
    mart = campaign / "campaign_performance.sql"
    _add(mart, "        'human_clicked',\n", "        'named',\n")
    _add(
        mart,
        "        coalesce(sum(campaign_days.human_opened), 0)::bigint as human_emails_opened,\n",
        "        coalesce(sum(campaign_days.named), 0)::bigint as emails_named,\n",
    )
    _add(mart, "    human_emails_clicked,\n", "    emails_named,\n")
    _add(campaign / "_campaign__models.yml", "      - name: human_open_rate\n", COLUMN, is_before=True)
    return dataclasses.replace(settings, project_root=project)


def _broken(settings: Settings, folder: Path) -> Settings:
    """That project with twice the messages in a mart, and a test that fails."""
    project = folder / "broken"
    shutil.copytree(settings.project_root, project)
    mart = project / "models" / "marts" / "campaign" / "campaign_performance.sql"
    text = mart.read_text()
    place = "coalesce(sum(campaign_days.sent), 0)"
    assert text.count(place) == 1
    mart.write_text(text.replace(place, f"2 * {place}"))
    (project / "tests" / "dbt" / "no_mail_is_counted_twice.sql").write_text(
        "select 1 as campaigns from {{ ref('campaign_performance') }} having count(*) > 0\n"
    )
    return dataclasses.replace(settings, project_root=project)


def _add(path: Path, place: str, lines: str, *, is_before: bool = False) -> None:
    text = path.read_text()
    assert text.count(place) == 1, f"{place!r} in {path.name}"
    path.write_text(text.replace(place, lines + place if is_before else place + lines))
