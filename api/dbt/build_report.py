"""The report of a build: reads dbt's log lines in JSON, and keeps the progress, the warnings and the errors.

dbt has an event a line (`--log-format json`). The result of a node is an event whose name is Log…Result, and the summary at the
end says what failed: a line that names the node, and then its message and where its SQL is. A line that is no event, such as one
of a traceback, is an error.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from api.plurals import counted

ARGUMENTS = ("--log-format", "json", "--log-format-file", "debug", "--no-use-colors")
# what the macros of the project say with log(info=true)
NOTE = "JinjaLogInfo"
# of the summary: they continue the line that names the node
CONTINUES_ERROR = ("RunResultError", "RunResultErrorNoMessage", "SQLCompiledPath", "CheckNodeTestFailure")
CONTINUES_WARNING = ("RunResultWarningMessage",)
# a number of errors, each of which has its own message
REPEATED = ("EndOfRunSummary", "LogSkipBecauseError")
KINDS = {"model": "model", "test": "data test", "unit_test": "unit test", "seed": "seed"}


@dataclass
class BuildReport:
    """The report of a build so far.

    Attributes:
        invocation_id: dbt's id of the build; None before its first event.
        finished: how many nodes of each kind have ended.
        total: how many nodes there are to build; 0 until that is known.
        running: the nodes that have begun and not ended, in the order in which they began.
        skipped: nodes that were not built because one before them failed.
        warnings, errors, notes: messages, in the order in which they came, each once.
    """

    invocation_id: str | None = None
    finished: Counter[str] = field(default_factory=Counter)
    total: int = 0
    running: list[str] = field(default_factory=list)
    skipped: int = 0
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, line: str) -> None:
        """Reads a line of dbt's output."""
        try:
            event = orjson.loads(line)
            name, level, message = event["info"]["name"], event["info"]["level"], event["info"]["msg"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            # the lines of a traceback belong together, and one can be there twice
            self.errors.append(line.rstrip())
            return
        self.invocation_id = event["info"].get("invocation_id") or self.invocation_id
        data = event.get("data") or {}
        if name == "LogStartLine":
            self._begin(data)
        elif name == "SkippingDetails":
            self.skipped += 1
        elif name.startswith("Log") and name.endswith("Result"):
            self._end(_node(data))
        elif name in REPEATED:
            pass
        elif name == NOTE:
            _add(self.notes, message)
        elif name in CONTINUES_ERROR and self.errors:
            self.errors[-1] += f"\n{message}"
        elif name in CONTINUES_WARNING and self.warnings:
            self.warnings[-1] += f"\n{message}"
        elif level == "error":
            _add(self.errors, message)
        elif level == "warn":
            _add(self.warnings, message)

    def progress(self) -> str:
        """How far the build is, with the node that runs longest: `45 of 512, fct_messages`."""
        if not self.total:
            return "reading the project"
        return ", ".join([f"{self.finished.total() + self.skipped} of {self.total}", *self.running[:1]])

    def counts(self) -> str:
        """What was built and tested: `85 models, 431 data tests, 13 seeds`."""
        numbers = ((self.finished[kind], title) for kind, title in KINDS.items())
        return ", ".join(counted(count, title) for count, title in numbers if count) or "nothing"

    def _begin(self, data: dict[str, Any]) -> None:
        self.total = max(self.total, int(data.get("total") or 0))
        self.running.append(str(_node(data).get("node_name") or ""))

    def _end(self, node: dict[str, Any]) -> None:
        self.finished[node.get("resource_type", "")] += 1
        name = str(node.get("node_name") or "")
        if name in self.running:
            self.running.remove(name)


def _node(data: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = data.get("node_info") or {}
    return node


def _add(messages: list[str], message: str) -> None:
    text = message.strip()
    if text and text not in messages:
        messages.append(text)
