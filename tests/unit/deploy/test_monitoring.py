"""The alerts and the dashboard: their metrics exist, and promtool accepts the rules and their tests."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from functools import cache
from typing import Any

import orjson
import pytest
import yaml

from api.settings import PROJECT_ROOT
from tests.support.compose import DEPLOY

RULES = DEPLOY / "prometheus" / "rules.yml"
SUFFIXES = {
    "Counter": ("_total",),
    "Gauge": ("",),
    "GaugeMetricFamily": ("",),
    "DbMetric": ("",),
    "Histogram": ("_bucket", "_count", "_sum"),
}
# those that README.md names as worth an alert
ALERTS = {
    "mailmart_database_up == 0",
    'mailmart_replica_up == 0 or sum(rate(mailmart_replica_fallbacks_total{reason="behind"}[5m])) > 0',
    "mailmart_last_build_failed == 1",
    "time() - mailmart_last_published_build_timestamp_seconds > 129600",
    "mailmart_oldest_unpublished_row_age_seconds > 900 and on (target) mailmart_continuous_build_failures >= 0",
    "mailmart_jobs_oldest_waiting_seconds > 600",
    "mailmart_workers_alive == 0",
    'sum(rate(mailmart_intake_requests_total{outcome=~"warehouse_unavailable|failed"}[5m])) > 0',
}
# a batch's number says nothing on a graph
NOT_SHOWN = {"mailmart_published_batch", "mailmart_replica_published_batch"}


@cache
def existing_metrics() -> frozenset[str]:
    """The names at /metrics of all metrics that the code makes."""
    names = set()
    for path in (PROJECT_ROOT / "api").rglob("*.py"):
        text = path.read_text()
        if "mailmart_" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SUFFIXES:
                name = node.args[0] if node.args else None
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    names |= {name.value + suffix for suffix in SUFFIXES[node.func.id]}
    return frozenset(names)


def used_metrics(expression: str) -> set[str]:
    return set(re.findall(r"\bmailmart_\w+", expression))


def expressions_of_dashboard() -> list[str]:
    dashboard: dict[str, Any] = orjson.loads((DEPLOY / "grafana" / "mailmart.json").read_bytes())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


def test_the_metrics_of_the_alerts_exist() -> None:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    assert {rule["expr"] for rule in rules} == ALERTS
    assert {name for expression in ALERTS for name in used_metrics(expression)} <= existing_metrics()


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    expressions = expressions_of_dashboard()
    used = {name for expression in expressions for name in used_metrics(expression)}
    existing = existing_metrics()
    assert len(existing) > 20
    assert used - existing == set()
    # a histogram's buckets are enough
    assert {name for name in existing - used if not name.endswith(("_count", "_sum"))} <= NOT_SHOWN


def test_no_two_panels_overlap() -> None:
    dashboard = orjson.loads((DEPLOY / "grafana" / "mailmart.json").read_bytes())
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not own & cells, panel["title"]
        cells |= own
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize("arguments", [("check", "rules", "rules.yml"), ("test", "rules", "rules.test.yml")])
def test_promtool_accepts_the_alerts(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=RULES.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_the_dashboards_expressions_are_promql(tmp_path: Any) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions_of_dashboard())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
