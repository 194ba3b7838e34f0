"""`python -m tests.lint.sql ARGUMENTS`: sqlfluff, which compiles the project's macros once, and not again for each model."""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any

from jinja2 import Environment
from sqlfluff.cli.commands import cli
from sqlfluff.core.linter.runner import MultiProcessRunner


def main() -> None:
    """Runs sqlfluff's command line, in this process and in those that it forks."""
    _compile_templates_once()
    # a process that is spawned knows nothing of it
    MultiProcessRunner.POOL_TYPE = multiprocessing.get_context("fork").Pool
    cli(sys.argv[1:], prog_name="sqlfluff")


def _compile_templates_once() -> None:
    """Those of the same text and the same kind of environment."""
    compile_ = Environment.compile
    compiled: dict[tuple[Any, ...], Any] = {}

    def compile_once(environment: Environment, source: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(source, str) or args or options:
            return compile_(environment, source, *args, **options)
        key = type(environment), tuple(sorted(environment.extensions)), environment.keep_trailing_newline, source
        if key not in compiled:
            compiled[key] = compile_(environment, source)
        return compiled[key]

    Environment.compile = compile_once  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    main()
