"""The scripts that `bench api` runs in pgbench, and the server's log from which it knows the statements."""

from __future__ import annotations

from api.db.prepared_statements import Statement
from api.tools.bench.pgbench import as_one_message, as_pipeline, as_transaction
from api.tools.bench.statement_log import prepared_transactions

STATEMENTS = [
    Statement("select set_config('role', 'x', true), set_config('a.b', $1, true), set_config('a.c', $2, true)", ("it's;", "$1")),
    Statement('select\n\t"a;b"::text from c'),
]
LOG = r"""
2026-11-27 10:38:41.128 UTC [7] LOG:  duration: 0.026 ms  parse mailmart_88: select set_config('role', 'x', true), set_config('a.b', $1, true), set_config('a.c', $2, true)
2026-11-27 10:38:41.128 UTC [7] LOG:  duration: 0.011 ms  execute mailmart_88: select set_config('role', 'x', true), set_config('a.b', $1, true), set_config('a.c', $2, true)
2026-11-27 10:38:41.128 UTC [7] DETAIL:  Parameters: $1 = 'it''s;', $2 = '$1'
2026-11-27 10:38:41.128 UTC [8] LOG:  duration: 0.011 ms  statement: select 3
2026-11-27 10:38:41.128 UTC [8] LOG:  duration: 0.011 ms  execute mailmart_89: select 3
2026-11-27 10:38:41.128 UTC [7] LOG:  duration: 0.001 ms  bind mailmart_91: select
		"a;b"::text from c
2026-11-27 10:38:41.128 UTC [7] LOG:  duration: 0.001 ms  execute mailmart_91: select
		"a;b"::text from c
""".replace("\\t", "\t")  # noqa: E501 - as the server writes it


def test_semicolons_in_literals_do_not_split_a_transaction() -> None:
    transaction = """begin read only; set local a.b = 'it''s; "x'; select "a;b" from c; commit"""
    assert (
        as_one_message(transaction) == r"""begin read only\; set local a.b = 'it''s; "x'\; select "a;b" from c\; commit;""" + "\n"
    )


def test_the_transaction_is_read_from_the_log() -> None:
    assert prepared_transactions(LOG) == [STATEMENTS]


def test_the_values_are_parameters_of_the_pipeline_and_literals_of_the_text() -> None:
    script, variables = as_pipeline(STATEMENTS)
    assert script.splitlines() == [
        r"\startpipeline",
        "select set_config('role', 'x', true), set_config('a.b', :p0_1, true), set_config('a.c', :p0_2, true);",
        "select",
        '\t"a;b"::text from c;',
        r"\endpipeline",
    ]
    assert variables == {"p0_1": "it's;", "p0_2": "$1"}
    assert as_transaction(STATEMENTS) == (
        "begin read only; select set_config('role', 'x', true), set_config('a.b', 'it''s;', true), set_config('a.c', '$1', true);"
        ' select\n\t"a;b"::text from c; commit'
    )
