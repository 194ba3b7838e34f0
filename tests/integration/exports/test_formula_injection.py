"""Formula injection: Python and SQL detect the same texts."""

from __future__ import annotations

import csv
import io
import random
import re
import unicodedata

import psycopg
import pytest
from psycopg import sql

from api.db.connection import connect
from api.exports.formats.formula_injection import (
    BLANKS,
    INNER_FORMULA,
    OPENERS,
    escape_formula,
    escape_formulas_in_lines,
    is_dangerous,
)
from api.settings import Settings

HARMLESS = [
    "",
    " ",
    "1",
    "a=1",
    "x",
    "a\t=1",
    "Ünïcode",
    "مرحبا",
    "👩",
    "'=1",
    '"=1"',
    "_",
    "*",
    "#",
    "(=1)",
    "a\n=1",
    "  a",
    "\u200bx",
]
DANGEROUS = ["=", "=1+1", "+", "-1", "@x", "＝1", "＋1", "－1", "＠x", "\t", "\r", "\n", "\tx", "\rx", "\nx"]  # noqa: RUF001


def test_dangerous_texts() -> None:
    assert [text for text in HARMLESS if is_dangerous(text)] == []
    assert [text for text in DANGEROUS if not is_dangerous(text)] == []
    for blank in BLANKS:
        assert is_dangerous(f"{blank}=1")
        assert is_dangerous(f" {blank}{blank} @x")
    # all white space of Python and Unicode
    assert {chr(code) for code in range(1, 0x110000) if chr(code).isspace() or unicodedata.category(chr(code)) == "Zs"} <= set(
        BLANKS
    )


@pytest.fixture
def connection(module_settings: Settings) -> psycopg.Connection:
    return connect(module_settings, "mailmart_worker")


def test_sql_equals_python(connection: psycopg.Connection, seed: int) -> None:
    generator = random.Random(seed)
    beginnings = [*BLANKS, *";;=+-@＝＋－＠'\"aZ09_[`^{~\x01\x7f\x80éö漢👩"]  # noqa: RUF001
    texts = HARMLESS + DANGEROUS + [chr(code) for code in range(1, 0x3100)] + [chr(code) + "=1" for code in range(1, 0x3100)]
    texts += ["".join(generator.choices(beginnings, k=generator.randrange(6))) for _ in range(20_000)]
    texts += [
        "".join(chr(c) for c in generator.choices(range(1, 0x110000), k=3) if not 0xD800 <= c < 0xE000) for _ in range(2_000)
    ]
    with connection, connection.cursor(binary=True) as cursor:
        query = f"select input, {escape_formula('input')} from unnest(%s::text[]) with ordinality as t (input, n) order by n"
        actual = cursor.execute(query, (texts,)).fetchall()
        in_csv = _in_csv(connection, texts)
    assert len(actual) == len(in_csv) == len(texts)
    for text, (stored, written), cell in zip(texts, actual, in_csv, strict=True):
        assert stored == text
        assert written == (f"'{text}" if is_dangerous(text) else text), (seed, text)
        assert cell == re.sub(INNER_FORMULA, r"\1'\2", written), (seed, text)
        # for each character that can end a cell
        cells = [cell.lstrip(BLANKS + '"') for cell in re.split("[;\t\r\n]", cell)]
        assert not any(cell.startswith(tuple(OPENERS)) for cell in cells[1:]), (seed, text)


def _in_csv(connection: psycopg.Connection, texts: list[str]) -> list[str]:
    """The texts after a CSV round trip, between two other columns that must not change."""
    query = sql.SQL("copy (select -1, {}, ';' from unnest({}::text[]) with ordinality as t (input, n) order by n) to stdout csv")
    with connection.cursor() as cursor, cursor.copy(query.format(sql.SQL(escape_formula("input")), sql.Literal(texts))) as copy:
        lines = list(copy)
    written = []
    # as single lines and in blocks
    for size in (1, 50):
        blocks = [escape_formulas_in_lines(lines[place : place + size]) for place in range(0, len(lines), size)]
        rows = list(csv.reader(io.StringIO(b"".join(blocks).decode(), newline="")))
        assert {(number, last) for number, _, last in rows} == {("-1", ";")}
        written.append([text for _, text, _ in rows])
    assert written[0] == written[1]
    return written[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sale;=1+1;x", "Sale;'=1+1;x"),
        ("a; \u00a0@x", "a; \u00a0'@x"),
        ('a;"=1', "a;\"'=1"),
        ("a\r\n-1\t+1", "a\r\n'-1\t'+1"),
        ("=1;=2", "'=1;'=2"),
        (";;=1", ";;'=1"),
        # none of these starts a formula
        ("a\tb", "a\tb"),
        ("550; user-part@example.com; a=b", "550; user-part@example.com; a=b"),
        ("a,=1", "a,=1"),
    ],
)
def test_formulas_after_a_character_that_ends_the_cell(connection: psycopg.Connection, text: str, expected: str) -> None:
    with connection:
        assert _in_csv(connection, [text]) == [expected]


def test_null_stays_null(connection: psycopg.Connection) -> None:
    with connection:
        assert connection.execute(f"select {escape_formula('input')} from (values (null::text)) as t (input)").fetchone() == (
            None,
        )
