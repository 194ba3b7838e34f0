"""The cells of a workbook. Text is always text; what would become a formula when the cell is edited has the quote prefix."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from api.contract.exposures import Kind
from api.exports.formats.formula_injection import is_dangerous
from api.exports.formats.xlsx_parts import DATE, DATE_TIME, QUOTED

# of UTF-16, as Excel counts
MAX_CHARACTERS = 32_767
CUT = " … (cut)"
# a spreadsheet's number has 15 digits that are right
MAX_EXACT = 10**15
# days from here are what Excel counts; its 1900 has a 29th of February, so it is right from March on
DAY_0 = date(1899, 12, 30).toordinal()
FIRST_DAY = date(1900, 1, 1)
LEAP_DAY = date(1900, 3, 1)

# nearly all texts: nothing to escape, nothing at their ends, no formula
PLAIN = re.compile(r"[0-9A-Za-z](?:[ !\"#$%'()*+,\-./0-9:;=?@A-Z\[\\\]^_`a-z{|}~]*[0-9A-Za-z.)])?").fullmatch
# what XML cannot hold is written as Excel does, as _x0001_; so a text that looks like that has to be escaped itself
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]|_(?=x[0-9A-Fa-f]{4}_)")


def cell_maker(kind: Kind, letters: str) -> Callable[[int, Any], str]:
    """Makes a column's cells: row number and value → XML, '' for null."""
    return _MAKERS[kind](letters)


def text_cell(letters: str, row: int, text: str, style: int = 0) -> str:
    """A cell with a text, whatever is in it."""
    if not style and is_dangerous(text):
        style = QUOTED
    styled = f' s="{style}"' if style else ""
    return f'<c r="{letters}{row}"{styled} t="inlineStr"><is><t xml:space="preserve">{_escaped(_shortened(text))}</t></is></c>'


def _shortened(text: str) -> str:
    if len(text) <= MAX_CHARACTERS // 2:
        return text
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * MAX_CHARACTERS:
        return text
    # half of a character at the end is left out
    return units[: 2 * (MAX_CHARACTERS - len(CUT))].decode("utf-16-le", "ignore") + CUT


def _escaped(text: str) -> str:
    if UNWRITABLE.search(text):
        text = UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def _text(letters: str) -> Callable[[int, Any], str]:
    def make(row: int, value: str | None) -> str:
        if value is None:
            return ""
        if PLAIN(value) and len(value) <= MAX_CHARACTERS and "_x" not in value:
            return f'<c r="{letters}{row}" t="inlineStr"><is><t>{value}</t></is></c>'
        return text_cell(letters, row, value)

    return make


def _integer(letters: str) -> Callable[[int, Any], str]:
    def make(row: int, value: int | None) -> str:
        if value is None:
            return ""
        if -MAX_EXACT < value < MAX_EXACT:
            return f'<c r="{letters}{row}"><v>{value}</v></c>'
        # as a number it would lose its last digits without a word
        return text_cell(letters, row, str(value))

    return make


def _number(letters: str) -> Callable[[int, Any], str]:
    def make(row: int, value: float | None) -> str:
        if value is None:
            return ""
        if math.isfinite(value):
            return f'<c r="{letters}{row}"><v>{value!r}</v></c>'
        return text_cell(letters, row, str(value))

    return make


def _boolean(letters: str) -> Callable[[int, Any], str]:
    def make(row: int, value: bool | None) -> str:
        return "" if value is None else f'<c r="{letters}{row}" t="b"><v>{value:d}</v></c>'

    return make


def _date(letters: str) -> Callable[[int, Any], str]:
    def make(row: int, value: date | None) -> str:
        if value is None:
            return ""
        if value < FIRST_DAY:
            return text_cell(letters, row, value.isoformat())
        return f'<c r="{letters}{row}" s="{DATE}"><v>{_day(value)}</v></c>'

    return make


def _date_time(letters: str) -> Callable[[int, Any], str]:
    epoch = date(1970, 1, 1).toordinal() - DAY_0

    def make(row: int, value: datetime | None) -> str:
        if value is None:
            return ""
        if value.year > 1900:
            return f'<c r="{letters}{row}" s="{DATE_TIME}"><v>{epoch + value.timestamp() / 86400:.10f}</v></c>'
        utc = value.astimezone(UTC)
        if utc.date() < FIRST_DAY:
            return text_cell(letters, row, utc.isoformat().replace("+00:00", "Z"))
        seconds = utc.hour * 3600 + utc.minute * 60 + utc.second + utc.microsecond / 1e6
        return f'<c r="{letters}{row}" s="{DATE_TIME}"><v>{_day(utc.date()) + seconds / 86400:.10f}</v></c>'

    return make


def _day(value: date) -> int:
    return value.toordinal() - DAY_0 - (value < LEAP_DAY)


_MAKERS: dict[Kind, Callable[[str], Callable[[int, Any], str]]] = {
    "integer": _integer,
    "number": _number,
    "string": _text,
    "boolean": _boolean,
    "date": _date,
    "date-time": _date_time,
}
