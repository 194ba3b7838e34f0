"""The parts of a workbook other than its cells: the minimum that ECMA-376 requires."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from api.contract.exposures import Kind
from api.exports.formats.base import Table

# indexes of cellXfs in the styles below
DATE, DATE_TIME, HEADER, QUOTED = 1, 2, 3, 4

SHEET_END = "</sheetData></worksheet>"

_DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"

# in characters
_WIDTHS: dict[Kind, int] = {"integer": 14, "number": 14, "string": 24, "boolean": 10, "date": 12, "date-time": 20}

_STYLES = (
    f'<styleSheet xmlns="{_MAIN}">'
    '<numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/>'
    '<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="5"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    '<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0" quotePrefix="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>'
    "</styleSheet>"
)


def sheet_start(table: Table, *, is_first: bool) -> str:
    """A sheet's XML up to its first row. The header row is frozen, and the first sheet is selected."""
    selected = ' tabSelected="1"' if is_first else ""
    widths = "".join(
        f'<col min="{at}" max="{at}" width="{max(_WIDTHS[column.kind], len(column.name) + 2)}" customWidth="1"/>'
        for at, column in enumerate(table.columns, 1)
    )
    return (
        f'{_DECLARATION}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView{selected} workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/><selection pane="bottomLeft"/>'
        f"</sheetView></sheetViews><cols>{widths}</cols><sheetData>"
    )


def workbook_parts(sheets: Sequence[str]) -> dict[str, str]:
    """Path in the zip file → XML, for everything but the sheets themselves."""
    numbered = list(enumerate(sheets, 1))
    listed = "".join(f'<sheet name={quoteattr(name)} sheetId="{at}" r:id="rId{at}"/>' for at, name in numbered)
    relations = "".join(_relation(at, f"{_RELATIONS}/worksheet", f"worksheets/sheet{at}.xml") for at, _ in numbered)
    overrides = "".join(
        f'<Override PartName="/xl/worksheets/sheet{at}.xml" ContentType="{_TYPES}.worksheet+xml"/>' for at, _ in numbered
    )
    parts = {
        "xl/workbook.xml": (
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><bookViews><workbookView/></bookViews>'
            f"<sheets>{listed}</sheets></workbook>"
        ),
        "xl/styles.xml": _STYLES,
        "xl/_rels/workbook.xml.rels": (
            f'<Relationships xmlns="{_PACKAGE}/relationships">{relations}'
            f"{_relation(len(sheets) + 1, f'{_RELATIONS}/styles', 'styles.xml')}</Relationships>"
        ),
        "_rels/.rels": (
            f'<Relationships xmlns="{_PACKAGE}/relationships">'
            f"{_relation(1, f'{_RELATIONS}/officeDocument', 'xl/workbook.xml')}</Relationships>"
        ),
        "[Content_Types].xml": (
            f'<Types xmlns="{_PACKAGE}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
            f'<Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/>{overrides}</Types>'
        ),
    }
    return {path: _DECLARATION + text for path, text in parts.items()}


def _relation(at: int, kind: str, target: str) -> str:
    return f'<Relationship Id="rId{at}" Type="{kind}" Target="{target}"/>'
