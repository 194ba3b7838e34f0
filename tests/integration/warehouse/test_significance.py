"""The mart significance, compared with scipy's test of random two-by-two tables."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import pytest

from api.db.connection import connect
from api.settings import Settings

TABLES = 300


def test_p_values_equal_scipys(empty_warehouse: Settings, seed: int) -> None:
    chance = random.Random(seed)
    today = datetime.now(UTC).date()
    tables: dict[str, dict[str, tuple[int, int]]] = {}
    for table in range(TABLES):
        counts = tables[f"w{table}"] = {}
        for number in range(chance.randint(2, 4)):
            delivered = chance.choice((0, 3, 20, 200, 10_000, 900_000))
            counts[f"c{number}"] = (chance.randint(0, delivered) if chance.random() < 0.7 else delivered // 3, delivered)
    with connect(empty_warehouse, "mailmart_owner") as connection:
        # inserted into core directly: only the mart is tested
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
        connection.execute("select set_config('mailmart.metrics', %s, true)", (json.dumps(["open_rate"]),))
        found = {
            workspace: result
            for workspace, *result in connection.execute(
                "select workspace_id, winner, p_value, is_significant from marts.significance"
            ).fetchall()
        }
        # the module's other test sees its own campaigns alone
        connection.rollback()
    assert found.keys() == tables.keys()
    for workspace, counts in tables.items():
        winner, p_value, is_significant = found[workspace]
        expected = _expected(counts)
        assert (winner, is_significant) == (expected[0], expected[2]), (counts, seed)
        assert p_value == (None if expected[1] is None else pytest.approx(expected[1], rel=1e-9, abs=1e-300)), (counts, seed)


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


def _expected(counts: dict[str, tuple[int, int]]) -> tuple[str | None, float | None, bool]:
    ranked = sorted((-opened / delivered, campaign) for campaign, (opened, delivered) in counts.items() if delivered)
    if len(ranked) < 2:
        return None, None, False
    best, runner_up = (campaign for _, campaign in ranked[:2])
    winner = None if ranked[0][0] == ranked[1][0] else best
    table = [[counts[campaign][0], counts[campaign][1] - counts[campaign][0]] for campaign in (best, runner_up)]
    if min(min(row) for row in table) < 5:
        return winner, None, False
    pairs = len(ranked) * (len(ranked) - 1) // 2
    # its import takes a second, which each process that collects the tests would pay
    from scipy.stats import chi2_contingency

    # the chi-squared test without Yates's correction is the square of the pooled z-test
    p_value = min(1.0, pairs * float(chi2_contingency(table, correction=False).pvalue))
    return winner, p_value, p_value < 0.05
