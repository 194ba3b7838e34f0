"""The mart optimal_send_time over drawn counts: it equals the rule in plain Python, and names no hour without a pattern."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from psycopg.rows import dict_row

from api.db.connection import connect
from api.settings import Settings
from api.tools.bench.send_time import EACH_DAY, FLAT, TUESDAY, Counts, draw_counts, write_counts
from tests.integration.warehouse.reference_send_time import best_send_time

SEEDS = 25
# messages of each seed
SIZES = {FLAT: (26, 1_000, 10_000), EACH_DAY: (10_000,), TUESDAY: (50_000,)}
MAX_NAMED_OVER_FLAT_MAIL = 0.05


def test_hours_are_named_if_there_is_a_pattern(empty_warehouse: Settings) -> None:
    until = datetime.now(UTC).date()
    draws: dict[str, Counts] = {}
    for pattern, sizes in SIZES.items():
        for size in sizes:
            for seed in range(SEEDS):
                draws[f"{pattern.name}/{size}/{seed}"] = draw_counts(random.Random(seed), size, until, pattern)
    # all of it engaged, or none of it: no message differs from another
    draws |= {f"all alike/{opened}": {(until, hour): _counts(100, opened) for hour in (9, 10)} for opened in (0, 100)}
    draws["one hour only"] = {(until, 9): _counts(1_000_000, 300_000)}

    with connect(empty_warehouse, "mailmart_owner") as connection:
        write_counts(connection, draws)
        rows = connection.cursor(row_factory=dict_row).execute("select * from marts.optimal_send_time").fetchall()
        connection.rollback()
    found = {row.pop("workspace_id"): row for row in rows}
    assert found.keys() == draws.keys()
    for workspace, counts in draws.items():
        assert found[workspace] == best_send_time(counts), workspace

    flat = [row for workspace, row in found.items() if workspace.startswith(FLAT.name)]
    assert sum(row["hour"] is not None for row in flat) <= MAX_NAMED_OVER_FLAT_MAIL * len(flat)
    for name, weekdays in ((EACH_DAY.name, None), (TUESDAY.name, "Tuesday")):
        named = [row for workspace, row in found.items() if workspace.startswith(name)]
        right = [row for row in named if row["hour"] == 10 and weekdays in (None, row["day_of_week"])]
        assert len(right) >= 0.9 * len(named)
    assert {found[f"{FLAT.name}/26/{seed}"]["optimal_send_time_reason"] for seed in range(SEEDS)} == {"TOO_LITTLE_DATA"}
    assert found["one hour only"]["optimal_send_time_reason"] == "TOO_LITTLE_DATA"


def _counts(sent: int, opened: int) -> dict[str, int]:
    return {"sent": sent, "opened": opened, "clicked": 0, "replied": 0}
