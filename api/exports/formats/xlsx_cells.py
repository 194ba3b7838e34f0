"""The cells of a workbook. Text stays text: a text that would become a formula when edited has the quote prefix."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from api.contract.exposures import Kind
from api.exports.formats.formula_injection import is_dangerous
from api.exports.formats.xlsx_parts import DATE, DATE_TIME, QUOTED

# in UTF-16 code units, as Excel counts
MAX_CHARACTERS = 32_767
TRUNCATION_MARK = " … (cut)"
# spreadsheets store numbers with 15 significant digits
MAX_EXACT = 10**15
# Excel counts days from here; it believes that 1900 was a leap year, so its count is right from March 1900 on
DAY_0 = date(1899, 12, 30).toordinal()
FIRST_DAY = date(1900, 1, 1)
LEAP_DAY = date(1900, 3, 1)

# nearly all texts: nothing to escape, no space at either end, no formula
PLAIN = re.compile(r"[0-9A-Za-z](?:[ !\"#$%'()*+,\-./0-9:;=?@A-Z\[\\\]^_`a-z{|}~]*[0-9A-Za-z.)])?").fullmatch
# characters that XML cannot contain are written as _x0001_, as Excel does; a text that looks like that is escaped itself
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]|_(?=x[0-9A-Fa-f]{4}_)")


def cell_maker(kind: Kind, column: str) -> Callable[[int, Any], str]:
    """A function for a column (A, B, …): row number and value → the cell's XML, empty for null."""
    return _MAKERS[kind](column)


def text_cell(column: str, row: int, text: str, style: int = 0) -> str:
    """A cell with any text."""
    if not style and is_dangerous(text):
        style = QUOTED
    styled = f' s="{style}"' if style else ""
    return f'<c r="{column}{row}"{styled} t="inlineStr"><is><t xml:space="preserve">{_escaped(_truncated(text))}</t></is></c>'


def _truncated(text: str) -> str:
    if len(text) <= MAX_CHARACTERS // 2:
        return text
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * MAX_CHARACTERS:
        return text
    # ignore: half a surrogate pair at the end is dropped
    return units[: 2 * (MAX_CHARACTERS - len(TRUNCATION_MARK))].decode("utf-16-le", "ignore") + TRUNCATION_MARK


def _escaped(text: str) -> str:
    if UNWRITABLE.search(text):
        text = UNWRITABLE.sub(lambda match: f"_x{ord(match[0]):04X}_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def _text(column: str) -> Callable[[int, Any], str]:
    def make(row: int, value: str | None) -> str:
        if value is None:
            return ""
        if PLAIN(value) and len(value) <= MAX_CHARACTERS and "_x" not in value:
            return f'<c r="{column}{row}" t="inlineStr"><is><t>{value}</t></is></c>'
        return text_cell(column, row, value)

    return make


def _integer(column: str) -> Callable[[int, Any], str]:
    def make(row: int, value: int | None) -> str:
        if value is None:
            return ""
        if -MAX_EXACT < value < MAX_EXACT:
            return f'<c r="{column}{row}"><v>{value}</v></c>'
        # as a number it would silently lose its last digits
        return text_cell(column, row, str(value))

    return make


def _number(column: str) -> Callable[[int, Any], str]:
    def make(row: int, value: float | None) -> str:
        if value is None:
            return ""
        if math.isfinite(value):
            return f'<c r="{column}{row}"><v>{value!r}</v></c>'
        return text_cell(column, row, str(value))

    return make


def _boolean(column: str) -> Callable[[int, Any], str]:
    def make(row: int, value: bool | None) -> str:
        return "" if value is None else f'<c r="{column}{row}" t="b"><v>{value:d}</v></c>'

    return make


def _date(column: str) -> Callable[[int, Any], str]:
    def make(row: int, value: date | None) -> str:
        if value is None:
            return ""
        if value < FIRST_DAY:
            return text_cell(column, row, value.isoformat())
        return f'<c r="{column}{row}" s="{DATE}"><v>{_day(value)}</v></c>'

    return make


def _date_time(column: str) -> Callable[[int, Any], str]:
    epoch = date(1970, 1, 1).toordinal() - DAY_0

    def make(row: int, value: datetime | None) -> str:
        if value is None:
            return ""
        if value.year > 1900:
            return f'<c r="{column}{row}" s="{DATE_TIME}"><v>{epoch + value.timestamp() / 86400:.10f}</v></c>'
        utc = value.astimezone(UTC)
        if utc.date() < FIRST_DAY:
            return text_cell(column, row, utc.isoformat().replace("+00:00", "Z"))
        seconds = utc.hour * 3600 + utc.minute * 60 + utc.second + utc.microsecond / 1e6
        return f'<c r="{column}{row}" s="{DATE_TIME}"><v>{_day(utc.date()) + seconds / 86400:.10f}</v></c>'

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
