"""Sections of the documentation that are generated: `<!-- generated: NAME -->` in a page becomes the text of that name.

Each is Markdown. Settings and commands come from code, definitions and tables from the dbt project's own YAML and doc blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from api.settings import PROJECT_ROOT
from api.tools.reference import cli_reference, settings_reference

MARKER = re.compile(r"^<!-- generated: ([a-z]+) -->$", re.MULTILINE)
DOC_BLOCK = re.compile(r"\{% docs (\w+) %\}\s*(.*?)\s*\{% enddocs %\}", re.DOTALL)
DOC_CALL = re.compile(r"""\{\{\s*doc\(\s*['"](\w+)['"]\s*\)\s*\}\}""")
# files of doc blocks, in the order in which a reader wants them
DEFINITION_FILES = {
    "counts": "Counts",
    "rates": "Rates",
    "health": "Health score",
    "bounces": "Bounces",
    "messages": "Messages",
    "events": "Events",
    "entities": "Workspaces, campaigns, mailboxes, domains",
    "versions": "Versions and builds",
}
LAYERS = ("staging", "intermediate", "core", "marts")


def insert_sections(markdown: str) -> str:
    """Replaces each marker by its section.

    Raises:
        KeyError: no section has the marker's name.
    """
    return MARKER.sub(lambda match: SECTIONS[match[1]](), markdown)


def definitions() -> str:
    """Each doc block under a heading of its name; blocks of a file under the file's heading."""
    parts = []
    for file in doc_files():
        parts.append(f"## {DEFINITION_FILES.get(file.stem, file.stem.capitalize())}\n")
        parts += [f"### {name}\n\n{text}\n" for name, text in DOC_BLOCK.findall(file.read_text())]
    return "\n".join(parts)


def warehouse() -> str:
    """A heading a layer, a heading a model with its grain and its columns."""
    parts = []
    for layer in LAYERS:
        models = list(models_of_layer(layer))
        if models:
            parts.append(f"## {layer.capitalize()}\n")
        parts += [_model_section(model) for model in models]
    return "\n".join(parts)


def doc_files() -> list[Path]:
    """The files of doc blocks, best known first."""
    order = list(DEFINITION_FILES)
    files = (PROJECT_ROOT / "models" / "docs").glob("*.md")
    return sorted(files, key=lambda file: (order.index(file.stem) if file.stem in order else len(order), file.stem))


@cache
def doc_blocks() -> Mapping[str, str]:
    """Doc block → its text."""
    return {name: text for file in doc_files() for name, text in DOC_BLOCK.findall(file.read_text())}


def models_of_layer(layer: str) -> Iterator[dict[str, Any]]:
    """The models of a folder of models/, as their YAML describes them."""
    for file in sorted((PROJECT_ROOT / "models" / layer).rglob("_*__models.yml")):
        yield from yaml.safe_load(file.read_text())["models"]


def _without_title(markdown: str) -> str:
    return re.sub(r"\A# .*\n+", "", markdown)


def _model_section(model: Mapping[str, Any]) -> str:
    columns = model.get("columns", [])
    lines = [f"### {model['name']}", "", _resolved(model.get("description", "")), ""]
    if columns:
        lines += ["| column | type | |", "|---|---|---|"]
        lines += [f"| `{column['name']}` | {column.get('data_type', '')} | {_resolved_cell(column)} |" for column in columns]
        lines.append("")
    return "\n".join(lines)


def _resolved_cell(column: Mapping[str, Any]) -> str:
    return _resolved(column.get("description", "")).replace("\n", " ").replace("|", "\\|")


def _resolved(description: str) -> str:
    return DOC_CALL.sub(lambda match: doc_blocks()[match[1]], description).strip()


SECTIONS: Mapping[str, Callable[[], str]] = {
    "settings": lambda: _without_title(settings_reference()),
    "cli": lambda: _without_title(cli_reference()),
    "definitions": definitions,
    "warehouse": warehouse,
}
