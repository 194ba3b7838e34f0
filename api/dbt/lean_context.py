"""Macros of a Jinja context that are made when a template calls them.

For each node, hook and query of the catalogue dbt makes a context with an object for each of its 700 macros, of which a template
calls ten. It replaces functions of dbt: see lean_dbt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dbt.clients.jinja import MacroGenerator
from dbt.context.macros import MacroNamespace, MacroNamespaceBuilder
from dbt.context.manifest import ManifestContext
from dbt.contracts.graph.nodes import Macro
from dbt_common.clients.jinja import MacroFuzzTemplate, NativeSandboxTemplate


def make_macros_when_they_are_called() -> None:
    """For each context that has all macros of the project."""
    fill = ManifestContext._build_namespace

    def fill_later(context: ManifestContext) -> MacroNamespace:
        # macros get this dictionary, too, so it is replaced before they do
        context._ctx = made = _Context()
        made.macros = fill(context)
        return made.macros

    def merge(context: ManifestContext) -> dict[str, Any]:
        members = context._ctx
        if not isinstance(members, _Context):
            everything: dict[str, Any] = merge_all(context)  # type: ignore[no-untyped-call]
            return everything
        super(ManifestContext, context).to_dict()
        # a macro hides what else has its name
        for name in [name for name in members if name in members.macros]:
            members[name] = members.macros[name]
        return members

    merge_all = ManifestContext.to_dict
    MacroNamespaceBuilder.build_namespace = _namespace  # type: ignore[method-assign, assignment]
    ManifestContext._build_namespace = fill_later  # type: ignore[method-assign, assignment]
    ManifestContext.to_dict = merge  # type: ignore[method-assign]
    # Jinja's own copies the context into a dictionary
    NativeSandboxTemplate.new_context = MacroFuzzTemplate.new_context  # type: ignore[method-assign, assignment]


class _Macros(dict[str, MacroGenerator]):
    """Macros by name, each made when it is first looked up."""

    def __init__(self, macros: Mapping[str, Macro], make: Callable[[Macro], MacroGenerator]) -> None:
        super().__init__()
        self._macros = macros
        self._make = make

    def __missing__(self, name: str) -> MacroGenerator:
        made = self[name] = self._make(self._macros[name])
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._macros

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self._macros else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._macros)

    def __len__(self) -> int:
        return len(self._macros)

    def keys(self) -> Any:
        return self._macros.keys()

    def items(self) -> Any:
        return [(name, self[name]) for name in self._macros]

    def values(self) -> Any:
        return [self[name] for name in self._macros]


class _Context(dict[str, Any]):
    """A context, with the macros beside its members."""

    macros: MacroNamespace

    def __missing__(self, name: str) -> Any:
        made = self[name] = self.macros[name]
        return made

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or name in self.macros

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default


class _Namespace(MacroNamespace):
    """Looks a name up where dbt does, in the same order."""

    def __contains__(self, name: object) -> bool:
        return any(name in macros for macros in self._search_order())


def _namespace(
    builder: MacroNamespaceBuilder, macros_by_package: Mapping[str, Mapping[str, Macro]], context: dict[str, Any]
) -> MacroNamespace:
    """In place of MacroNamespaceBuilder.build_namespace."""

    def make(macro: Macro) -> MacroGenerator:
        return MacroGenerator(macro, context, builder.node, builder.thread_ctx)

    def of_package(name: str) -> _Macros:
        return _Macros(macros_by_package.get(name, {}), make)

    internal: dict[str, Macro] = {}
    for package in reversed(builder.internal_package_names_order):
        internal |= macros_by_package.get(package, {})
    own = {name for name in macros_by_package if name not in builder.internal_package_names}
    nothing = _Macros({}, make)
    return _Namespace(
        global_namespace=of_package(builder.root_package) if builder.root_package != builder.search_package else nothing,
        local_namespace=of_package(builder.search_package) if builder.search_package in own else nothing,
        global_project_namespace=_Macros(internal, make),
        packages={name: of_package(name) for name in own},
    )
