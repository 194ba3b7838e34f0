"""The facts that `bench marts` reports as scanned."""

from __future__ import annotations

from api.tools.bench.marts import scanned_facts


def test_a_sequential_scan_of_a_fact_is_reported() -> None:
    plan = {
        "Node Type": "Aggregate",
        "Plans": [
            {"Node Type": "Seq Scan", "Relation Name": "dim_campaigns"},
            {"Node Type": "Append", "Plans": [{"Node Type": "Seq Scan", "Relation Name": "fct_messages"}]},
            {"Node Type": "Index Scan", "Relation Name": "fct_send_slots"},
        ],
    }
    assert list(scanned_facts(plan)) == ["fct_messages"]
