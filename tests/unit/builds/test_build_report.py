"""What is kept of dbt's events: counts, progress, and warnings and errors in full."""

from __future__ import annotations

import orjson

from api.dbt.build_report import BuildReport


def event(name: str, level: str = "info", message: str = "", **data: object) -> str:
    """A line as dbt writes it, with the fields that are read."""
    return orjson.dumps({"info": {"name": name, "level": level, "msg": message, "invocation_id": "i"}, "data": data}).decode()


def node(name: str, kind: str = "model") -> dict[str, str]:
    return {"node_name": name, "resource_type": kind}


def read(*lines: str) -> BuildReport:
    report = BuildReport()
    for line in lines:
        report.read(line)
    return report


def test_progress_and_counts() -> None:
    assert BuildReport().progress() == "reading the project"
    assert BuildReport().counts() == "nothing"
    report = read(
        event("MainReportVersion", message="Running with dbt=1.11"),
        event("LogStartLine", total=1234, node_info=node("stg_events")),
        event("LogModelResult", node_info=node("stg_events"), total=1234),
        event("LogSeedResult", node_info=node("words", "seed")),
        event("LogTestResult", node_info=node("t", "test")),
        event("LogTestResult", "error", "FAIL 3 u", node_info=node("u", "test")),
        event("LogStartLine", total=1234, node_info=node("core")),
        event("SkippingDetails", message="SKIP relation core.x"),
    )
    assert report.progress() == "5 of 1234, core"
    assert report.counts() == "1 model, 2 data tests, 1 seed"
    assert (report.invocation_id, report.errors, report.warnings, report.skipped) == ("i", [], [], 1)


def test_progress_names_the_node_that_runs_longest() -> None:
    report = read(
        event("LogStartLine", total=9, node_info=node("fct_messages")),
        event("LogStartLine", total=9, node_info=node("short", "test")),
        event("LogTestResult", node_info=node("short", "test")),
    )
    assert report.progress() == "1 of 9, fct_messages"
    report.read(event("LogModelResult", node_info=node("fct_messages")))
    assert report.progress() == "2 of 9"


def test_errors_and_warnings_are_whole_and_there_once() -> None:
    report = read(
        event("JinjaLogWarning", "warn", "Marts show 0. Backfill: mailmart build"),
        event("LogTestResult", "warn", "WARN 1 backfilled"),
        event("EndOfRunSummary", "info", "Completed with 2 errors and 1 warning:"),
        event("RunResultFailure", "error", "Failure in test a (x.yml)"),
        event("RunResultError", "error", "  Got 1 result, configured to fail if != 0"),
        event("SQLCompiledPath", message="  compiled code at target/a.sql"),
        event("RunResultFailure", "error", "Failure in test b (x.yml)"),
        event("RunResultError", "error", "  Got 1 result, configured to fail if != 0"),
        event("RunResultWarning", "warn", "Warning in test backfilled (y.yml)"),
        event("RunResultWarningMessage", "warn", "  Got 1 result, configured to warn if != 0"),
        event("JinjaLogWarning", "warn", "Marts show 0. Backfill: mailmart build"),
        event("JinjaLogInfo", message="a ran longer than model_timeout"),
    )
    assert report.errors == [
        "Failure in test a (x.yml)\n  Got 1 result, configured to fail if != 0\n  compiled code at target/a.sql",
        "Failure in test b (x.yml)\n  Got 1 result, configured to fail if != 0",
    ]
    assert report.warnings == [
        "Marts show 0. Backfill: mailmart build",
        "Warning in test backfilled (y.yml)\n  Got 1 result, configured to warn if != 0",
    ]
    assert report.notes == ["a ran longer than model_timeout"]


def test_lines_that_are_no_events_are_kept() -> None:
    traceback = ["Traceback (most recent call last):", '  File "x"', '  File "x"', "ImportError: dbt", "[1]", '{"info": 1}']
    assert read(*traceback).errors == traceback
