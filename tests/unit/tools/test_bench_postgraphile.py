"""The comparison with PostGraphile: its query is found by the views' names, and it is skipped without npm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner

from api.cli import bench
from api.errors import MailmartError
from api.tools.bench import postgraphile

LIST = {"name": None, "ofType": {"name": None, "ofType": {"name": "CampaignSeriesD5F5", "ofType": None}}}
DOCUMENT = {
    "__schema": {
        "queryType": {"fields": [{"name": "allCampaignSeriesD5F5SList", "type": LIST}]},
        "types": [
            {"name": "CampaignSeriesD5F5", "fields": [{"name": "date"}, {"name": "sent"}]},
            {"name": "Int", "fields": None},
        ],
    }
}


@dataclass(frozen=True)
class View:
    """In place of a section."""

    view: str


def test_the_query_reads_all_columns_of_the_views(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def post(port: int, query: str) -> dict[str, Any]:
        asked.append(query)
        return {"allCampaignSeriesD5F5SList": [{"date": "2026-01-01"}]}

    monkeypatch.setattr(postgraphile, "_post", post)
    request = postgraphile._query(1, DOCUMENT, [View('"marts_served"."campaign_series__d5f5"')])  # type: ignore[list-item]
    assert asked == ["{allCampaignSeriesD5F5SList{date sent}}"]
    head, _, body = request.partition("\r\n\r\n")
    assert f"Content-Length: {len(body)}" in head
    with pytest.raises(MailmartError, match="does not offer"):
        postgraphile._query(1, DOCUMENT, [View('"marts_served"."another"')])  # type: ignore[list-item]


def test_it_is_skipped_without_npm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "is_available", lambda: False)
    result = CliRunner().invoke(bench.command, ["postgraphile"])
    assert (result.exit_code, result.output) == (0, "npm or node is missing: nothing is measured\n")
