"""The charts of mails wait for each other, but not for ever."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from api.drawing.drawer import Drawer
from api.reports import mail_charts
from api.reports.mail_charts import NOT_ALL, ChartMaker, MailCharts
from api.settings import Settings
from tests.support.waiting import wait_until


class SlowMaker(ChartMaker):
    """Makes the charts of an export when the test says so."""

    def __init__(self, settings: Settings, drawer: Drawer) -> None:
        super().__init__(settings, drawer)
        self.made: list[str] = []
        self.gate = threading.Event()

    def _make(self, export_id: str) -> MailCharts:
        self.made.append(export_id)
        self.gate.wait(20)
        return MailCharts(note=export_id)


def test_a_mail_does_not_wait_for_ever_for_the_charts_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = SlowMaker(Settings(database_url=None, redis_url=None, home=tmp_path), Drawer())
    first = threading.Thread(target=maker.charts_of, args=("exp_1",))
    first.start()
    wait_until(lambda: maker.made, "the charts of the first are made")
    monkeypatch.setattr(mail_charts, "SECONDS_TO_WAIT", 0.05)
    assert maker.charts_of("exp_2") == MailCharts(note=NOT_ALL)
    maker.gate.set()
    first.join()
    # what was not made is made for the next recipient, and what was made is kept
    assert [maker.charts_of(name).note for name in ("exp_2", "exp_1")] == ["exp_2", "exp_1"]
    assert maker.made == ["exp_1", "exp_2"]
