"""Formula injection: which texts a spreadsheet would evaluate, and how exports escape them.

There is one definition for Python (xlsx), for SQL, and for the CSV lines that PostgreSQL returns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# spreadsheets also accept the full-width forms, which Chinese, Japanese and Korean keyboards type
OPENERS = "=+-@＝＋－＠"  # noqa: RUF001
# what a program may skip before it checks the first character: all Unicode white space, and zero-width characters
BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x2010)))
    + "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
# a text that starts with one of these is dangerous by itself: a program may start a new line or cell there
BREAKS = "\t\n\r"
# if the list separator of the user's locale is a semicolon, a line with commas is one cell up to the first of these characters,
# quotes in the middle of it have no meaning, and the text behind the character is a new cell
CELL_ENDS = ";" + BREAKS
# the end of a cell followed by the start of a formula; quotes at the start of a cell are skipped, like blanks
INNER_FORMULA = f'([{CELL_ENDS}][{BLANKS}"]*)([{re.escape(OPENERS)}])'


def is_dangerous(text: str) -> bool:
    """Whether the text starts a formula, possibly after blanks, or starts with a tab or a line break."""
    return text.startswith(_DANGEROUS_PREFIXES) or (text[:1] in _BLANKS and text.lstrip(BLANKS).startswith(_OPENERS))


_OPENERS = tuple(OPENERS)
_DANGEROUS_PREFIXES = (*OPENERS, *BREAKS)
_BLANKS = frozenset(BLANKS)


def escape_formula(column_sql: str) -> str:
    """SQL that escapes a text column for CSV: dangerous texts get an apostrophe, so that spreadsheets show them as text.

    The SQL repeats its argument several times: pass a column, not an expensive or volatile expression. The database must be
    UTF-8.
    """
    first = f"ascii({column_sql})"
    trimmed = f"ascii(ltrim({column_sql}, {_literal(BLANKS)}))"
    # the first character decides for nearly all texts, and PostgreSQL looks it up in the list by hash, in one step
    return (
        f"case when {first} not in ({_codes(OPENERS + BLANKS)}) then {column_sql}"
        f" when {first} in ({_codes(OPENERS + BREAKS)}) or {trimmed} in ({_codes(OPENERS)})"
        f" then '''' || {column_sql} else {column_sql} end"
    )


def escape_formulas_in_lines(lines: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """Escapes formulas inside of texts, after a character that ends the cell in some locales; see CELL_ENDS.

    A match never spans two texts: they are separated by a comma, and nothing follows the line feed of a row.

    Args:
        lines: CSV lines in UTF-8, each a row with its line feed.

    Returns:
        The lines as one block.
    """
    block = b"".join(lines)
    # most blocks have no such character; searching each text in SQL would take a quarter of an export's time
    if not _has_cell_end(block, len(lines)):
        return block
    return b"".join(
        _INNER_FORMULA.sub(r"\1'\2", line.decode()).encode() if _has_cell_end(line, 1) else line for line in map(bytes, lines)
    )


def _has_cell_end(rows: bytes, row_count: int) -> bool:
    # CELL_ENDS, unrolled: a loop costs more than the search. Each row has one line feed at its end
    return b";" in rows or b"\t" in rows or b"\r" in rows or rows.count(b"\n") > row_count


_INNER_FORMULA = re.compile(INNER_FORMULA)


def _codes(characters: str) -> str:
    return ", ".join(str(ord(character)) for character in characters)


def _literal(characters: str) -> str:
    return "E'" + "".join(f"\\u{ord(character):04X}" for character in characters) + "'"
