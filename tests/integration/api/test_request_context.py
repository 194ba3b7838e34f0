"""The settings of a request context: exact values, which end with their transaction."""

from __future__ import annotations

import pytest

from api.db.connection import connect
from api.db.pool import ConnectionPool
from api.db.request_context import CAMPAIGN_ID, apply_settings
from api.settings import Settings

SELECT = "select current_setting('mailmart.campaign_id', true)"


@pytest.mark.parametrize("value", ["cmp_1", "", "it's", 'a"b', "\\", "'; drop table x; --", "é\u202e🌌", "$1 %s"])
def test_values_arrive_exactly(settings: Settings, value: str) -> None:
    pool = ConnectionPool(settings)
    pool.open()
    try:
        assert pool.query({CAMPAIGN_ID: value}, [SELECT]) == [[(value,)]]
    finally:
        pool.close()
    with connect(settings, "mailmart_worker") as connection:
        apply_settings(connection, {CAMPAIGN_ID: value})
        assert connection.execute(SELECT).fetchone() == (value,)


def test_settings_end_with_the_transaction(settings: Settings) -> None:
    with connect(settings, "mailmart_worker") as connection:
        apply_settings(connection, {CAMPAIGN_ID: "cmp_1"})
        connection.commit()
        # a setting that was set once reads '' afterwards, not null
        assert connection.execute(SELECT).fetchone() == ("",)


def test_no_settings_are_no_statement(settings: Settings) -> None:
    with connect(settings, "mailmart_worker") as connection:
        apply_settings(connection, {})
        assert connection.execute(SELECT).fetchone() == (None,)
