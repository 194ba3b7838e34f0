"""A changed project is deployed, and taken back, while the service runs: its requests go on."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

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

COLUMN = """
      - name: emails_clicked_per_mille
        data_type: bigint
        description: Messages clicked, in thousandths of those sent.
        config: {meta: {in: summary, example: 49}}
"""


@pytest.mark.timeout(240)
def test_a_column_more_and_back(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.publication.SECONDS_KEPT", 0.0)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    land(
        settings,
        [Event(kind, "w", "m", kind, yesterday, campaign_id="c") for kind in ("sent", "delivered", "clicked")],
        datetime.now(UTC) - timedelta(hours=1),
    )
    run_dbt(settings, "build", "--exclude-resource-type", "unit_test")
    service = Service(settings)
    errors: list[str] = []
    stop = threading.Event()
    try:
        caller = Caller(Client(service), create_key(settings, "w", name="deployment"))

        def keep_asking() -> None:
            while not stop.is_set():
                answer = caller.get("w/campaigns/c/analytics")
                if answer.status_code != 200 or answer.get_json()["data"]["summary"]["emails_sent"] != 1:
                    errors.append(answer.text)

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            run_dbt(_changed(settings, tmp_path), "build", "--exclude-resource-type", "unit_test", target_path="changed")
            assert caller.get("w/campaigns/c/analytics").get_json()["data"]["summary"]["emails_clicked_per_mille"] == 1000
            go_back(settings)
            assert "emails_clicked_per_mille" not in caller.get("w/campaigns/c/analytics").get_json()["data"]["summary"]
            run_dbt(settings, "build", "--exclude-resource-type", "unit_test")
            assert "emails_clicked_per_mille" not in caller.get("w/campaigns/c/analytics").get_json()["data"]["summary"]
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
    mart = project / "models" / "marts" / "campaign" / "campaign_performance.sql"
    text = mart.read_text()
    assert "    human_emails_clicked,\n" in text
    mart.write_text(
        text.replace(
            "    human_emails_clicked,\n",
            "    human_emails_clicked,\n    (1000 * emails_clicked / emails_sent)::bigint as emails_clicked_per_mille,\n",
        )
    )
    models = project / "models" / "marts" / "campaign" / "_campaign__models.yml"
    place = "      - name: human_open_rate\n"
    models.write_text(models.read_text().replace(place, COLUMN.lstrip("\n") + place, 1))
    return dataclasses.replace(settings, project_root=project)
