"""The marts of a comparison, compared with scipy's tests and intervals of random tables."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from itertools import combinations

import pytest
from psycopg import Connection

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse.reference_marts import holm

TABLES = 300


def test_p_values_and_intervals_equal_scipys(empty_warehouse: Settings, seed: int) -> None:
    chance = random.Random(seed)
    tables: dict[str, dict[str, tuple[int, int]]] = {}
    for table in range(TABLES):
        counts = tables[f"w{table}"] = {}
        for number in range(chance.randint(2, 4)):
            delivered = chance.choice((0, 3, 20, 200, 10_000, 900_000))
            counts[f"c{number}"] = (chance.randint(0, delivered) if chance.random() < 0.7 else delivered // 3, delivered)
    with connect(empty_warehouse, "mailmart_owner") as connection:
        _insert(connection, tables)
        connection.execute("select set_config('mailmart.metrics', %s, true)", (json.dumps(["open_rate"]),))
        found = {
            workspace: row
            for workspace, *row in connection.execute(
                "select workspace_id, leading_campaign, winner, p_value, is_significant from marts.significance"
            ).fetchall()
        }
        intervals = {
            (workspace, campaign): (float(low), float(high))
            for workspace, campaign, low, high in connection.execute(
                "select workspace_id, campaign_id, low, high from marts.rate_intervals"
            ).fetchall()
        }
        # the module's other tests see their own campaigns alone
        connection.rollback()
    assert found.keys() == tables.keys()
    for workspace, counts in tables.items():
        leading, winner, p_value, is_significant = found[workspace]
        expected = _expected(counts)
        assert (leading, is_significant) == (expected[0], expected[2]), (counts, seed)
        assert winner == (leading if is_significant else None)
        assert p_value == (None if expected[1] is None else pytest.approx(expected[1], rel=1e-9, abs=1e-300)), (counts, seed)
        for campaign, (opened, delivered) in counts.items():
            if delivered:
                # the mart rounds to two decimals
                interval = intervals.pop((workspace, campaign))
                assert interval == pytest.approx(_interval(opened, delivered), abs=0.0051), (counts, seed)
    assert intervals == {}


def test_sample_ratios_equal_scipys(empty_warehouse: Settings, seed: int) -> None:
    chance = random.Random(seed)
    from scipy.stats import chisquare

    with connect(empty_warehouse, "mailmart_owner") as connection:
        for table in range(100):
            workspace, campaigns = f"split{table}", chance.randint(2, 10)
            shares = [chance.choice((1, 2.5, 50)) for _ in range(campaigns)]
            size = chance.choice((100, 1_000, 100_000))
            noise = chance.choice((0, 0.01, 0.05, 0.5))
            sent = [round(size * share / sum(shares) * (1 + noise * chance.random())) for share in shares]
            ids = [f"c{number}" for number in range(campaigns)]
            _insert(connection, {workspace: {name: (0, count) for name, count in zip(ids, sent, strict=True)}})
            for name, value in (("campaign_ids", ids), ("expected_shares", shares)):
                connection.execute("select set_config(%s, %s, true)", (f"mailmart.{name}", json.dumps(value)))
            ((p_value, is_mismatch),) = connection.execute(
                "select p_value, is_mismatch from marts.sample_ratio where workspace_id = %s", (workspace,)
            ).fetchall()
            planned = [sum(sent) * share / sum(shares) for share in shares]
            if min(planned) < 5:
                assert (p_value, is_mismatch) == (None, False)
                continue
            expected = float(chisquare(sent, planned).pvalue)
            # the largest statistics are clipped
            assert p_value == pytest.approx(expected, rel=1e-9, abs=1e-290), (sent, shares, seed)
            assert is_mismatch == (expected < 0.001)


def test_hillstroms_randomised_test(empty_warehouse: Settings) -> None:
    """The published MineThatData challenge: of two random thirds of 64,000 customers, one had mail of men's goods."""
    # a visit is counted as an open, a conversion as a reply: recipients, visits, conversions
    counts = {"men": (21_307, 3_894, 267), "women": (21_387, 3_238, 189)}
    with connect(empty_warehouse, "mailmart_owner") as connection:
        for campaign, (delivered, visits, conversions) in counts.items():
            connection.execute(
                "insert into core.dim_campaigns (workspace_id, campaign_id, campaign_name, valid_from, valid_to)"
                " values ('hillstrom', %s, '', 1, 9223372036854775807)",
                (campaign,),
            )
            connection.execute(
                "insert into core.fct_campaign_days (workspace_id, campaign_id, mailbox_id, domain_id, sent_date, sent,"
                " delivered, bounced, hard_bounced, opened, clicked, replied, complained, unsubscribed, human_opened,"
                " human_clicked, valid_from, valid_to)"
                " values ('hillstrom', %s, '', '', %s, %s, %s, 0, 0, %s, 0, %s, 0, 0, 0, 0, 1, 9223372036854775807)",
                (campaign, datetime.now(UTC).date(), delivered, delivered, visits, conversions),
            )
        connection.execute("select set_config('mailmart.metrics', %s, true)", (json.dumps(["open_rate", "reply_rate"]),))
        found = {
            metric: (winner, p_value)
            for metric, winner, p_value in connection.execute(
                "select metric, winner, p_value from marts.significance where workspace_id = 'hillstrom'"
            ).fetchall()
        }
    from scipy.stats import norm

    winner, p_value = found["open_rate"]
    assert (winner, norm.isf(p_value / 2)) == ("men", pytest.approx(8.685, abs=5e-4))
    assert found["reply_rate"] == ("men", pytest.approx(2.0515e-4, abs=5e-9))


def _insert(connection: Connection, tables: dict[str, dict[str, tuple[int, int]]]) -> None:
    """Campaigns with (opened, delivered), by workspace, into core directly: only the marts are tested."""
    today = datetime.now(UTC).date()
    rows = [(workspace, campaign, *pair) for workspace, counts in tables.items() for campaign, pair in counts.items()]
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into core.dim_campaigns (workspace_id, campaign_id, campaign_name, valid_from, valid_to)"
            " values (%s, %s, '', 1, 9223372036854775807)",
            [row[:2] for row in rows],
        )
        cursor.executemany(
            "insert into core.fct_campaign_days (workspace_id, campaign_id, mailbox_id, domain_id, sent_date, sent,"
            " delivered, bounced, hard_bounced, opened, clicked, replied, complained, unsubscribed, human_opened,"
            " human_clicked, valid_from, valid_to)"
            " values (%s, %s, '', '', %s, %s, %s, 0, 0, %s, 0, 0, 0, 0, 0, 0, 1, 9223372036854775807)",
            [(workspace, campaign, today, delivered, delivered, opened) for workspace, campaign, opened, delivered in rows],
        )


def _expected(counts: dict[str, tuple[int, int]]) -> tuple[str | None, float | None, bool]:
    """The campaign that leads, the p-value of its lead, corrected for the number of pairs, and whether it is significant."""
    ranked = sorted((-opened / delivered, campaign) for campaign, (opened, delivered) in counts.items() if delivered)
    if len(ranked) < 2:
        return None, None, False
    leading = None if ranked[0][0] == ranked[1][0] else ranked[0][1]
    pairs = list(combinations([campaign for _, campaign in ranked], 2))
    p_values = {pair: _p_value(*(counts[campaign] for campaign in pair)) for pair in pairs}
    corrected = holm(p_values)[pairs[0]]
    return leading, corrected, corrected is not None and corrected < 0.05


def _p_value(first: tuple[int, int], second: tuple[int, int]) -> float | None:
    table = [[opened, delivered - opened] for opened, delivered in (first, second)]
    if min(min(row) for row in table) < 5:
        return None
    # its import takes a second, which each process that collects the tests would pay
    from scipy.stats import chi2_contingency

    # the chi-squared test without Yates's correction is the square of the pooled z-test
    return float(chi2_contingency(table, correction=False).pvalue)


def _interval(opened: int, delivered: int) -> tuple[float, float]:
    """Wilson's, in per cent."""
    from scipy.stats import binomtest

    interval = binomtest(opened, delivered).proportion_ci(0.95, method="wilson")
    return 100 * interval.low, 100 * interval.high
