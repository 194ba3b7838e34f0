"""`mailmart bench batch` and `bench marts`: that they run to their end, say what they are asked for, and leave nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.settings import PROJECT_ROOT, Settings
from api.tools.bench.marts import scanned_facts
from tests.support.command import mailmart


@pytest.mark.timeout(300)
def test_a_build_is_measured_beside_plain_sql(home: Path) -> None:
    arguments = ["bench", "batch", "--messages", "2000", "--days", "30", "--history", "30", "--nights", "1"]
    result = mailmart(Settings(None, None, home), *arguments)
    assert result.exit_code == 0, result.output
    for line in (
        r"30 days, 2,000 messages; database \d\.\d\d GiB, at most \d\.\d\d GiB while it was built",
        r"  first build: models [\d.]+ s, plain SQL [\d.]+ s, ratio [\d.]+",
        r"    [\d,]+ messages and [\d,]+ rows a second",
        r"  a night \(median of 1\): models [\d.]+ s, plain SQL [\d.]+ s, ratio [\d.]+",
        r"    the whole dbt build [\d.]+ s: data tests [\d.]+ s of SQL, dbt itself \(no statement runs\) [\d.]+ s",
        r"    each model by itself, two of which can run at the same time: [\d.]+ s, ratio [\d.]+",
        r"    fct_messages +[\d.]+ s",
        r"    dim_campaigns +[\d.]+ s",
        r"    views, seeds, hooks +[\d.]+ s",
    ):
        assert re.search(f"^{line}$", result.output, re.MULTILINE), f"{line}\n{result.output}"
    assert list(home.iterdir()) == []


@pytest.mark.timeout(300)
def test_every_mart_is_asked(home: Path) -> None:
    arguments = ["bench", "marts", "--messages", "2000", "--days", "30", "--rounds", "1", "--plans"]
    result = mailmart(Settings(None, None, home), *arguments)
    assert result.exit_code == 0, result.output
    asked = set(re.findall(r"^\w+ +(\w+) +(\w+ \w+) +[\d.]+ ms of +(\d+)", result.output, re.MULTILINE))
    # those of exports are asked by no endpoint
    marts = [path for path in (PROJECT_ROOT / "models" / "marts").glob("*/*.sql") if path.parent.name != "exports"]
    assert {mart for mart, _, _ in asked} == {path.stem for path in marts}
    assert {("campaign_series", "one campaign", "30"), ("deliverability", "one campaign", "30")} <= asked
    assert {("deliverability", "all mail", "150"), ("deliverability", "one domain", "150")} <= asked
    assert "Buffers: shared hit" in result.output
    assert list(home.iterdir()) == []


def test_a_fact_that_is_read_whole_is_named() -> None:
    plan = {
        "Node Type": "Aggregate",
        "Plans": [
            {"Node Type": "Seq Scan", "Relation Name": "dim_campaigns"},
            {"Node Type": "Append", "Plans": [{"Node Type": "Seq Scan", "Relation Name": "fct_messages"}]},
            {"Node Type": "Index Scan", "Relation Name": "fct_send_slots"},
        ],
    }
    assert list(scanned_facts(plan)) == ["fct_messages"]
