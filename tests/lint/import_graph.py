"""Prints the import graph of `api`: `python -m tests.lint.import_graph [COMMIT]`.

An arrow is a package (or module directly below `api`) that imports another one. The arrows back up are the fewest whose removal
leaves no cycle, of few imports each; a package's floor is the length of the longest chain of the other arrows that begins there.
The order that the packages must have is a contract in pyproject.toml, checked by test_imports.py.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import combinations
from pathlib import Path

import grimp

PROJECT_ROOT = Path(__file__).resolve().parents[2]
Arrow = tuple[str, str]


@dataclass(frozen=True)
class ImportGraph:
    """The arrows between packages; `back_up` are the fewest whose removal leaves no cycle."""

    arrows: frozenset[Arrow]
    back_up: frozenset[Arrow]
    floors: Mapping[str, int]

    @classmethod
    def of(cls, imports: Mapping[Arrow, int]) -> ImportGraph:
        """The graph of these arrows, each with its number of imports."""
        every = frozenset(imports)
        back_up = _fewest_to_remove(imports)
        return cls(every, back_up, _floors(every - back_up))


def package_imports(graph: grimp.ImportGraph) -> Counter[Arrow]:
    """The arrows between the packages of `api`, each with its number of imports."""
    imports = ((module, used) for module in graph.modules for used in graph.find_modules_directly_imported_by(module))
    packages = ((_package(module), _package(used)) for module, used in imports)
    return Counter((package, used) for package, used in packages if package != used)


def _package(module: str) -> str:
    return ".".join(module.split(".")[1:2]) or module


def _targets(arrows: Iterable[Arrow]) -> dict[str, set[str]]:
    targets: dict[str, set[str]] = defaultdict(set)
    for source, target in arrows:
        targets[source].add(target)
    return targets


def _in_cycles(arrows: Iterable[Arrow]) -> set[Arrow]:
    """The arrows that are part of a cycle."""
    arrows = set(arrows)
    targets = _targets(arrows)

    @cache
    def reachable(start: str) -> frozenset[str]:
        found: set[str] = set()
        to_visit = [start]
        while to_visit:
            for target in targets.get(to_visit.pop(), set()) - found:
                found.add(target)
                to_visit.append(target)
        return frozenset(found)

    return {(source, target) for source, target in arrows if source in reachable(target)}


def _fewest_to_remove(imports: Mapping[Arrow, int]) -> frozenset[Arrow]:
    in_cycles = sorted(_in_cycles(imports), key=lambda arrow: (imports[arrow], arrow))
    for number in range(len(in_cycles) + 1):
        for removed in combinations(in_cycles, number):
            if not _in_cycles(set(in_cycles) - set(removed)):
                return frozenset(removed)
    raise AssertionError("without arrows there is no cycle")


def _floors(arrows: frozenset[Arrow]) -> dict[str, int]:
    targets = _targets(arrows)

    @cache
    def floor(package: str) -> int:
        return 1 + max(map(floor, targets.get(package, ())), default=0)

    return {package: floor(package) for package in sorted({name for arrow in arrows for name in arrow})}


def _read_graph(folder: str) -> grimp.ImportGraph:
    # before the installed project, which points to this work tree
    sys.path.insert(0, folder)
    return grimp.build_graph("api", cache_dir=None)


def main(arguments: list[str]) -> None:
    """Prints the graph of the work tree, or of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        if arguments:
            archive = subprocess.run(["git", "archive", arguments[0], "api"], cwd=PROJECT_ROOT, capture_output=True, check=True)
            with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
                files.extractall(folder, filter="data")
        graph = ImportGraph.of(package_imports(_read_graph(folder if arguments else str(PROJECT_ROOT))))
    imports, imported_by = _targets(graph.arrows), _targets((target, source) for source, target in graph.arrows)
    print(f"{'package':<22}{'floor':>6}{'imports':>9}{'imported by':>13}")
    for package, floor in sorted(graph.floors.items(), key=lambda entry: (-entry[1], entry[0])):
        print(f"{package:<22}{floor:>6}{len(imports.get(package, ())):>9}{len(imported_by.get(package, ())):>13}")
    back_up = ", ".join(f"{source} -> {target}" for source, target in sorted(graph.back_up))
    print(f"\n{max(graph.floors.values())} floors, {len(graph.arrows)} arrows, {len(graph.back_up)} back up", end="")
    print(f": {back_up}" if back_up else "")


if __name__ == "__main__":
    main(sys.argv[1:])
