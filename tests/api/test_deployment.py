"""A changed project is deployed, and taken back, while the service runs: its requests go on."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from api.app import Service
from api.batch.books import go_back
from api.keys import create_key
from api.settings import PROJECT_ROOT, Settings
from tests.api.conftest import Caller
from tests.support.dbt import run_dbt
from tests.warehouse.events import Event
from tests.warehouse.landing import land

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
        config: {meta: {in: summary, example: 49}}
"""


SENT = Event("s", "w", "m", "sent", datetime.now(UTC) - timedelta(days=1), campaign_id="c", recipient_domain="x.example")


def build(settings: Settings, *arguments: str, target_path: str = "target") -> None:
    run_dbt(settings, "build", "--exclude-resource-type", "unit_test", *arguments, target_path=target_path)


def summary(caller: Caller, campaign: str = "c") -> dict[str, Any]:
    found: dict[str, Any] = caller.get(f"w/campaigns/{campaign}/analytics").get_json()["data"]["summary"]
    return found


@pytest.mark.timeout(480)
def test_a_column_more_and_back(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.publication.SECONDS_KEPT", 0.0)
    land(
        settings,
        [SENT, dataclasses.replace(SENT, event_id="d", event_type="delivered")],
        datetime.now(UTC) - timedelta(hours=1),
    )
    build(settings)
    service = Service(settings)
    errors: list[str] = []
    stop = threading.Event()
    try:
        caller = Caller(Client(service), create_key(settings, "w", name="deployment"))

        def keep_asking() -> None:
            # the builds need the processor as well
            while not stop.wait(0.02):
                answer = caller.get("w/campaigns/c/analytics")
                if answer.status_code != 200 or answer.get_json()["data"]["summary"]["emails_sent"] != 1:
                    errors.append(answer.text)

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            changed = _changed(settings, tmp_path)
            build(changed, "--vars", "recompute: true", target_path="changed")
            assert summary(caller)["emails_named"] == 1
            go_back(settings)
            assert "emails_named" not in summary(caller)
            # the project as it was, on a fact that has the column by now, with something new for it
            land(settings, [dataclasses.replace(SENT, event_id="s2", message_id="m2", campaign_id="c2")], datetime.now(UTC))
            build(settings)
            assert "emails_named" not in summary(caller)
            assert summary(caller, "c2")["emails_sent"] == 1
            # and deployed again
            build(changed, "--vars", "recompute: true", target_path="changed")
            assert [summary(caller, campaign)["emails_named"] for campaign in ("c", "c2")] == [1, 1]
        finally:
            stop.set()
            asking.join()
    finally:
        service.close()
    assert errors == []


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


def _add(path: Path, place: str, lines: str, *, is_before: bool = False) -> None:
    text = path.read_text()
    assert text.count(place) == 1, f"{place!r} in {path.name}"
    path.write_text(text.replace(place, lines + place if is_before else place + lines))
