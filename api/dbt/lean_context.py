"""Macros of a Jinja context that are made when a template calls them.

For each node, hook and query of the catalogue dbt makes a context with an object for each of its 700 macros, of which a template
calls ten. And for each call of a macro dbt runs its template again, to get the same function. It replaces functions of dbt: see
lean_dbt.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from dbt.clients.jinja import MacroGenerator
from dbt.context.macros import MacroNamespace, MacroNamespaceBuilder
from dbt.context.manifest import ManifestContext
from dbt.contracts.graph.nodes import Macro
from dbt_common.clients.jinja import MacroFuzzTemplate, NativeSandboxTemplate
from dbt_common.exceptions import CompilationError
from dbt_common.exceptions.macros import CaughtMacroErrorWithNodeError, MacroReturn
from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import Context

# they are the same whenever they are made for a node: of the command, of the environment, or of Python
MADE_LATER = frozenset({"dbt_metadata_envs", "env", "exceptions", "flags", "invocation_args_dict", "modules", "validation"})


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
        builtins = _Members(context)
        members.later = builtins.later
        members["context"], members["builtins"] = members, builtins
        members.update(builtins)
        # a macro hides what else has its name
        for name in [name for name in members if name in members.macros]:
            members[name] = members.macros[name]
        return members

    merge_all = ManifestContext.to_dict
    MacroNamespaceBuilder.build_namespace = _namespace  # type: ignore[method-assign, assignment]
    ManifestContext._build_namespace = fill_later  # type: ignore[method-assign, assignment]
    ManifestContext.to_dict = merge  # type: ignore[method-assign]
    MacroFuzzTemplate.new_context = _new_context  # type: ignore[method-assign, assignment]
    # Jinja's own copies the context into a dictionary
    NativeSandboxTemplate.new_context = _new_context  # type: ignore[method-assign, assignment]
    MacroGenerator.__call__ = _call  # type: ignore[method-assign, assignment]


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


def _call(generator: MacroGenerator, *args: Any, **kwargs: Any) -> Any:
    """In place of MacroGenerator.__call__, which makes the macro's function for each call, and two context managers."""
    function = generator.__dict__.get("function")
    if function is None:
        function = generator.__dict__["function"] = generator.get_macro()
    macro: Any = generator.macro
    calls: list[str] | None = None if generator.stack is None else generator.stack.call_stack
    if calls is not None:
        if generator.node and not calls:
            generator.node.depends_on.add_macro(macro.unique_id)
        calls.append(macro.unique_id)
    try:
        return function(*args, **kwargs)
    except MacroReturn as returned:
        return returned.value
    except (TypeError, TemplateRuntimeError) as error:
        raise CaughtMacroErrorWithNodeError(exc=error, node=macro)  # noqa: B904 - as dbt does
    except CompilationError as error:
        error.stack.append(macro)
        raise
    finally:
        if calls is not None:
            calls.pop()


def _new_context(template: MacroFuzzTemplate, vars: Any = None, shared: bool = False, locals: Any = None) -> Context:  # noqa: A002
    """In place of MacroFuzzTemplate.new_context, whose ChainMap looks a name up in loops of Python."""
    assert not shared  # noqa: S101 - dbt refuses these, too
    assert not locals  # noqa: S101
    parent: Any = {} if vars is None else vars
    if template.globals:
        parent = _Chain(parent, template.globals)
    return template.environment.context_class(template.environment, parent, template.name, template.blocks)


class _Chain(ChainMap[str, Any]):
    """Two dictionaries, the first of which hides members of the second."""

    def __contains__(self, name: object) -> bool:
        first, second = self.maps
        return name in first or name in second

    def __getitem__(self, name: str) -> Any:
        first, second = self.maps
        return first[name] if name in first else second[name]


class _Members(dict[str, Any]):
    """What a context has besides macros. Some members, which few templates read, are made when they are."""

    def __init__(self, context: ManifestContext) -> None:
        super().__init__()
        self.later: dict[str, Callable[[], Any]] = {}
        for name, value in context._context_members_.items():
            if not hasattr(value, "__get__"):
                self[name] = value
            elif name in MADE_LATER:
                self.later[name] = partial(value.__get__, context)
            else:
                self[name] = value.__get__(context)

    def __missing__(self, name: str) -> Any:
        made = self[name] = self.later[name]()
        return made

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or name in self.later


class _Context(dict[str, Any]):
    """A context, with the macros beside its members."""

    def __init__(self) -> None:
        super().__init__()
        self.macros: MacroNamespace
        self.later: Mapping[str, Callable[[], Any]] = {}
        # names that no macro has
        self._absent: set[object] = set()

    def __missing__(self, name: str) -> Any:
        made = self[name] = self.macros[name] if name in self.macros or name not in self.later else self.later[name]()
        return made

    def __contains__(self, name: object) -> bool:
        if dict.__contains__(self, name):
            return True
        if name in self._absent:
            return False
        is_there = name in self.later or name in self.macros
        if not is_there:
            self._absent.add(name)
        return is_there

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default


class _Namespace(MacroNamespace):
    """Looks a name up where dbt does, in the same order."""

    def __contains__(self, name: object) -> bool:
        for macros in self._search_order():  # noqa: SIM110 - any() takes twice as long
            if name in macros:
                return True
        return False


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
