"""The documentation of the dbt project: all columns described, shared texts as doc blocks, no dead ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

Manifest = dict[str, Any]
Column = dict[str, Any]
DATA = ("model", "seed", "source")


def nodes(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The nodes that have columns, by id."""
    all_nodes = {**manifest["nodes"], **manifest["sources"]}
    return {name: node for name, node in all_nodes.items() if node["resource_type"] in DATA}


def columns(manifest: Manifest) -> Iterator[tuple[str, Column]]:
    for name, node in nodes(manifest).items():
        for column in node["columns"].values():
            yield f"{name}.{column['name']}", column


def test_every_column_is_described(manifest: Manifest) -> None:
    assert [name for name, node in nodes(manifest).items() if not node["columns"]] == []
    assert [name for name, column in columns(manifest) if not column["description"].strip()] == []


def test_shared_descriptions_are_doc_blocks(manifest: Manifest) -> None:
    columns_of: dict[str, list[str]] = defaultdict(list)
    for name, column in columns(manifest):
        if not column["doc_blocks"]:
            columns_of[column["description"].strip()].append(name)
    assert {text: names for text, names in columns_of.items() if len(names) > 1} == {}


def test_every_doc_block_is_used(manifest: Manifest) -> None:
    used = {block for _, column in columns(manifest) for block in column["doc_blocks"]}
    in_project = {name for name, block in manifest["docs"].items() if block["package_name"] == "mailmart"}
    assert in_project - used == set()


def test_lineage_has_no_dead_ends(manifest: Manifest) -> None:
    def leads_to_an_exposure(name: str) -> bool:
        return name.startswith("exposure.") or any(map(leads_to_an_exposure, manifest["child_map"].get(name, [])))

    assert [name for name in nodes(manifest) if not leads_to_an_exposure(name)] == []

    def comes_from_a_source(name: str) -> bool:
        return name.startswith(("source.", "seed.")) or any(map(comes_from_a_source, manifest["parent_map"].get(name, [])))

    # made from the request alone, or from nothing
    calendars = {f"model.mailmart.query_{name}" for name in ("days", "hours", "calendar")}
    names = {*nodes(manifest), *manifest["exposures"]} - calendars
    assert [name for name in names if not comes_from_a_source(name)] == []
