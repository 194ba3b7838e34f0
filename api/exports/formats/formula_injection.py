"""Which texts a spreadsheet would run as a formula: one definition, for Python (xlsx), and for SQL and its lines (CSV)."""

from __future__ import annotations

import re
from collections.abc import Sequence

# their full-width forms count as well where Chinese, Japanese or Korean is typed
OPENERS = "=+-@＝＋－＠"  # noqa: RUF001
# what a program may trim or skip before it looks at the first character: every blank of Unicode, and characters without width
BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x2010)))
    + "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
# these make a cell dangerous by themselves: a program may break the line or the cell there
BREAKS = "\t\n\r"
# where the list separator is a semicolon, a line of commas is one cell up to the first of these: quotes that do not stand at a
# cell's beginning mean nothing there, and what follows is a cell of its own
ENDS_OF_CELLS = ";" + BREAKS
# the end of a cell, and what begins a formula: quotes that begin a cell are passed over, as blanks are
INSIDE = f'([{ENDS_OF_CELLS}][{BLANKS}"]*)([{re.escape(OPENERS)}])'


def is_dangerous(text: str) -> bool:
    """Whether the text begins with what a formula begins with, also after blanks; or with a tab or the end of a line."""
    return text.startswith(_FIRSTS) or (text[:1] in _BLANKS and text.lstrip(BLANKS).startswith(_OPENERS))


_OPENERS = tuple(OPENERS)
_FIRSTS = (*OPENERS, *BREAKS)
_BLANKS = frozenset(BLANKS)


def escape_formula(column_sql: str) -> str:
    """SQL of a text column for CSV: an apostrophe before what is dangerous, with which spreadsheets show the text as it is.

    The expression stands in it several times: give a column, and nothing that is dear or changes between calls. It needs a
    database in UTF-8.
    """
    first = f"ascii({column_sql})"
    trimmed = f"ascii(ltrim({column_sql}, {_literal(BLANKS)}))"
    # the first character alone settles nearly every text; Postgres looks it up in a list of codes by its hash, in one step
    return (
        f"case when {first} not in ({_codes(OPENERS + BLANKS)}) then {column_sql}"
        f" when {first} in ({_codes(OPENERS + BREAKS)}) or {trimmed} in ({_codes(OPENERS)})"
        f" then '''' || {column_sql} else {column_sql} end"
    )


def defused_lines(lines: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """CSV lines (UTF-8, a row each, with its line feed) as one block, escape_formula where a cell could end within a text.

    An apostrophe stands before what would begin a formula there. What is found never leaves its text: a comma stands between
    two of them, and nothing after the line feed at the end of a row.
    """
    block = b"".join(lines)
    # most blocks can end no cell; to look for that in each text, in SQL, would cost a quarter of an export's time
    if not _can_end_cells(block, len(lines)):
        return block
    return b"".join(
        _INSIDE.sub(r"\1'\2", line.decode()).encode() if _can_end_cells(line, 1) else line for line in map(bytes, lines)
    )


def _can_end_cells(rows: bytes, count: int) -> bool:
    # ENDS_OF_CELLS, one by one: a loop over them costs a line more than the search; a line feed ends each row as well
    return b";" in rows or b"\t" in rows or b"\r" in rows or rows.count(b"\n") > count


_INSIDE = re.compile(INSIDE)


def _codes(characters: str) -> str:
    return ", ".join(str(ord(character)) for character in characters)


def _literal(characters: str) -> str:
    return "E'" + "".join(f"\\u{ord(character):04X}" for character in characters) + "'"
