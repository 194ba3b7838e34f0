"""The script that draws charts: made once for a home folder, and a failure is not repeated at each request."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.pages.chart_bundle import ChartBundle, ChartBundleUnavailable


@pytest.mark.slow
def test_it_is_made_once_for_a_home_folder(tmp_path: Path) -> None:
    made = ChartBundle(tmp_path).file()
    assert b"window.vegaEmbed" in made.content
    path = tmp_path / "pages" / made.name
    path.write_bytes(b"what is there is used")
    assert ChartBundle(tmp_path).file().content == b"what is there is used"
    assert sorted(file.name for file in path.parent.iterdir()) == [made.name, "lock"]


def test_a_failure_is_not_repeated_at_each_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = tmp_path / "home"
    home.write_text("a file where a folder should be")
    bundle = ChartBundle(home)
    for _ in range(3):
        with pytest.raises(ChartBundleUnavailable):
            bundle.file()
    assert len(caplog.records) == 1
