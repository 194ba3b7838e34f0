"""The script that `bench api` runs in pgbench."""

from __future__ import annotations

from api.tools.bench.pgbench import as_one_message


def test_semicolons_in_literals_do_not_split_a_transaction() -> None:
    transaction = """begin read only; set local a.b = 'it''s; "x'; select "a;b" from c; commit"""
    assert (
        as_one_message(transaction) == r"""begin read only\; set local a.b = 'it''s; "x'\; select "a;b" from c\; commit;""" + "\n"
    )
