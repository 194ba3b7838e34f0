"""What README, CONTRIBUTING, CHANGELOG and docs/ say exists: links, commands, settings, files, models, macros, metrics, codes."""

from __future__ import annotations

import functools
import html.parser
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from api import errors
from api.cli import main as mailmart
from api.settings import PROJECT_ROOT
from api.tools.docs.sections import SECTIONS, insert_sections, models_of_layer
from tests.lint.documentation import (
    blocks,
    command_lines,
    commands,
    edit,
    inline_code,
    pages,
    project_files,
    source_text,
    tutorials,
)

LAYERS = ("staging", "intermediate", "core", "marts")
# programs that a command line may call and that are not the project's
OTHER_PROGRAMS = {
    "cp",
    "createdb",
    "curl",
    "docker",
    "dropdb",
    "export",
    "npm",
    "pg_basebackup",
    "pg_ctl",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pip",
    "pre-commit",
    "psql",
    "read",
    "runuser",
    "source",
    "systemctl",
}
# a path begins with one of these
TOP_FOLDERS = ("api/", "build/", "deploy/", "docs/", "macros/", "models/", "seeds/", "tests/", ".ci/")
# written by commands
GENERATED_PATHS = ("build/", "deploy/.env")
# names of 0.1.0, which the changelog translates
OLD_NAMES = "CHANGELOG.md"
JINJA = {"doc", "ref", "source", "config"}
FORBIDDEN = re.compile(
    r"\b(nights?|books|telling|told|tells?|landings?|landed|standing|holder|admission|asked|dear|letters|ours)\b", re.IGNORECASE
)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(site: Path) -> None:
    assert (site / "index.html").is_file()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=PROJECT_ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


class _Resources(html.parser.HTMLParser):
    """What a page makes the browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.urls += [found[name] or "" for name in ("src", "srcset", "data") if name in found]
        if tag == "link" and found.get("rel") not in ("canonical", "prev", "next"):
            self.urls.append(found.get("href") or "")


@pytest.mark.slow
def test_built_pages_load_nothing_from_another_host(site: Path) -> None:
    remote = {}
    for page in site.rglob("*.html"):
        parser = _Resources()
        parser.feed(page.read_text())
        remote[page.name] = [url for url in parser.urls if re.match(r"(https?:)?//", url)]
    for style in site.rglob("*.css"):
        remote[style.name] = re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^)'\"]*)", style.read_text())
    assert {name: urls for name, urls in remote.items() if urls} == {}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize("page", ["explanation/architecture.html", "reference/app-tables.html", "explanation/counting.html"])
def test_a_browser_loads_a_page_from_its_folder_alone(site: Path, tmp_path: Path, page: str) -> None:
    log = tmp_path / "net.json"
    shown = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            # nothing leaves the machine; what the page asks for is in the log all the same
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--log-net-log={log}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            (site / page).as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    # Mermaid replaces the block by its picture, in a shadow root that the dump does not show
    assert shown.stdout.count('<pre class="mermaid"') == 0
    # requests of pages have a key of the page's own place, those of the browser itself have none
    requested = re.findall(r'"network_isolation_key":"file:.{0,400}?"url":"([^"]+)"', log.read_text())
    assert requested == []


def test_every_picture_is_well_formed_and_used() -> None:
    pictures = sorted((PROJECT_ROOT / "docs" / "pictures").glob("*.svg"))
    assert pictures
    for picture in pictures:
        assert f"pictures/{picture.name}" in "".join(pages().values()), picture.name
        assert "prefers-color-scheme: dark" in picture.read_text(), picture.name


def _links(text: str) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)):
        if not re.match(r"[a-z]+:", target):
            yield target


def _anchor(heading: str) -> str:
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


def test_links_resolve() -> None:
    """Those between pages are checked by mkdocs as well; README and CONTRIBUTING are not part of its site."""
    broken = []
    for page, text in pages().items():
        for link in _links(text):
            path, _, anchor = link.partition("#")
            target = (PROJECT_ROOT / page).parent / path if path else PROJECT_ROOT / page
            anchors = {_anchor(heading) for heading in re.findall(r"^#+ (.*)$", target.read_text(), re.M)} if anchor else set()
            if not target.exists() or (anchor and anchor not in anchors):
                broken.append(f"{page}: {link}")
    assert broken == []


def test_every_program_of_a_command_line_is_known() -> None:
    known = OTHER_PROGRAMS | {"mailmart", "dbt", "make"}
    called = {command.words[0] for command in commands()}
    assert {program for program in called if not (PROJECT_ROOT / program).is_file()} - known == set()
    # and none is excused that no page calls
    assert OTHER_PROGRAMS - called == set()


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that dbt takes for that of its profiles."""
    monkeypatch.setenv("DBT_PROFILES_DIR", str(PROJECT_ROOT))


@pytest.mark.slow
def test_mailmart_command_lines_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profiles: None) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.jsonl.gz").touch()
    lines = [(command.page, list(command.words[1:])) for command in commands() if command.words[0] == "mailmart"]
    assert len(lines) > 30
    for page, words in lines:
        try:
            _parse(mailmart, "mailmart", words)
        except click.ClickException as error:
            pytest.fail(f"{page}: mailmart {' '.join(words)}: {error.format_message()}")


def _parse(command: click.Command, name: str, words: list[str], parent: click.Context | None = None) -> None:
    """Parses the words down to the last command, and runs nothing."""
    context = command.make_context(name, list(words), parent=parent)
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest:
            raise click.UsageError("a command is missing")
        _, found, left = command.resolve_command(context, rest)
        assert found is not None
        _parse(found, rest[0], left, context)
    elif name == "build":
        # what it does not know is dbt's
        _parse_dbt(["build", *words])


def _parse_dbt(words: list[str]) -> None:
    # loading it takes a second
    from dbt.cli.main import cli as dbt

    command = dbt.commands[words[0]]
    command.make_context(words[0], words[1:], parent=dbt.make_context("dbt", list(words)), resilient_parsing=False)


@pytest.mark.slow
def test_dbt_command_lines_parse_and_select_what_exists(profiles: None) -> None:
    lines = [command for command in commands() if command.words[0] == "dbt"]
    assert len(lines) > 5
    for command in lines:
        words = list(command.words[1:])
        if words[0] == "docs":
            assert words == ["docs", "generate"]
            continue
        try:
            _parse_dbt(words)
        except click.ClickException as error:
            pytest.fail(f"{command.page}: {command.line}: {error.format_message()}")
        for option, value in itertools.pairwise(words):
            if option in ("--select", "-s"):
                for part in value.split(","):
                    assert ":" in part or part.strip("+") in _models(), f"{command.page}: {command.line}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {(command.page, word) for command in commands() if command.words[0] == "make" for word in command.words[1:]}
    called |= {(page, span.split()[1]) for page, span in inline_code() if re.fullmatch(r"make [a-z-]+", span)}
    assert {(page, target) for page, target in called if target not in targets} == set()


@pytest.mark.slow
def test_commands_in_sentences_exist() -> None:
    known = dict(_all_commands(mailmart))
    for page, span in inline_code():
        if span.startswith("mailmart ") and page != OLD_NAMES:
            words = [word for word in span.split()[1:] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
            assert any(" ".join(words[:count]) in known for count in (1, 2)), f"{page}: {span}"
            command = known.get(" ".join(words[:2])) or known[words[0]]
            options = {option for parameter in command.params for option in parameter.opts}
            if words[0] not in ("build", "dbt"):
                assert {word for word in span.split() if word.startswith("--")} <= options, f"{page}: {span}"


def _all_commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from _all_commands(command, f"{prefix}{name} ")


def test_settings_in_pages_exist() -> None:
    setting = re.compile(r"\bMAILMART_[A-Z_]+[A-Z]\b")
    code = source_text(".py", ".example", ".yml", "Makefile", ".sql")
    existing = set(setting.findall(code)) | set(setting.findall(SECTIONS["settings"]()))
    for page, text in pages().items():
        if page != OLD_NAMES:
            assert set(setting.findall(text)) - existing == set(), page


def test_every_setting_is_documented() -> None:
    reference = SECTIONS["settings"]()
    used = set(re.findall(r"\bMAILMART_[A-Z_]+[A-Z]\b", source_text(".example")))
    service = {name for name in used if not name.startswith(("MAILMART_DBT_", "MAILMART_TEST_"))}
    assert {name for name in service if name not in reference} == set()
    assert reference.count("MAILMART_") > 25


def test_files_in_pages_exist() -> None:
    missing = []
    for page, span in inline_code():
        path = span.rstrip("/")
        is_path = span.startswith(TOP_FOLDERS) and not re.search(r"[<{*…\s]", span)
        if is_path and page != OLD_NAMES and path not in project_files() and not span.startswith(GENERATED_PATHS):
            missing.append(f"{page}: {span}")
    assert missing == []


def test_files_of_command_lines_exist() -> None:
    for command in commands():
        for word in command.words[1:]:
            if word.startswith(TOP_FOLDERS) and not word.startswith(GENERATED_PATHS):
                assert word in project_files(), f"{command.page}: {command.line}"


@functools.cache
def _models() -> dict[str, dict[str, Any]]:
    """Name → model, as the YAML describes it."""
    return {model["name"]: model for layer in LAYERS for model in models_of_layer(layer)}


def test_models_in_pages_exist() -> None:
    seeds = {path.stem for path in (PROJECT_ROOT / "seeds").glob("*.csv")}
    made_by_the_pages = {"recipient_domains", "recipient_domain_list", "fct_audience_days", "query_audience_days"}
    known = set(_models()) | seeds | made_by_the_pages
    for page, text in pages().items():
        if page == OLD_NAMES:
            continue
        named = re.findall(r"\b((?:fct|dim|stg|int)_[a-z_]+[a-z])\b(?!…)", text)
        named += re.findall(r"""\bref\(\s*['"]{1,2}(\w+)""", text)
        named += re.findall(r"\bmarts\.([a-z_]+)", text)
        for name in named:
            assert name in known, f"{page}: {name}"


def test_macros_in_pages_exist() -> None:
    macros = set(re.findall(r"\{%-?\s*(?:macro|test)\s+(\w+)\(", source_text(".sql")))
    for page, text in pages().items():
        called = set(re.findall(r"\{\{\s*(\w+)\(", text)) | set(re.findall(r"`([a-z_]+)\(\)`", text))
        assert called - macros - JINJA == set(), page


# made by `mailmart migrate --citus` (api/db/citus.py)
TABLES_ON_CITUS = {"workspace_shards", "served_queries"}


def test_app_tables_in_pages_exist() -> None:
    existing = _app_tables()
    functions = set(re.findall(r"function app\.(\w+)", source_text(".sql")))
    for page, text in pages().items():
        if page != OLD_NAMES:
            for name in re.findall(r"\bapp\.([a-z_]+)", text):
                assert name in existing | functions | TABLES_ON_CITUS, f"{page}: app.{name}"


def test_every_app_table_is_documented() -> None:
    page = pages()["docs/reference/app-tables.md"]
    assert {name for name in _app_tables() if f"`app.{name}`" not in page} == set()


def _app_tables() -> set[str]:
    tables: set[str] = set()
    for file in sorted((PROJECT_ROOT / "api" / "db" / "migrations").glob("*.sql")):
        text = file.read_text()
        tables |= set(re.findall(r"create table app\.(\w+)", text))
        for old, new in re.findall(r"alter table app\.(\w+) rename to (\w+)", text):
            tables = tables - {old} | {new}
        tables -= set(re.findall(r"drop table app\.(\w+)", text))
    return tables


def test_every_prometheus_metric_is_documented() -> None:
    code = "\n".join(path.read_text() for path in (PROJECT_ROOT / "api").rglob("*.py") if "tools" not in path.parts)
    made = set(re.findall(r"\(\s*\"(mailmart_[a-z_]+)\"", code)) - _roles()
    documented = set(re.findall(r"`(mailmart_[a-z_]+)`", pages()["docs/reference/metrics.md"]))
    assert documented == made


def test_prometheus_metrics_in_pages_exist() -> None:
    documented = set(re.findall(r"`(mailmart_[a-z_]+)`", pages()["docs/reference/metrics.md"]))
    logins = {"mailmart_client", "mailmart_server", "mailmart_receiver", "mailmart_jobs", "mailmart_builder"}
    for page, text in pages().items():
        if page != OLD_NAMES:
            for name in re.findall(r"\bmailmart_[a-z_]+[a-z]\b", text):
                # Prometheus adds the suffix of a counter
                assert name.removesuffix("_total") in documented | _roles() | logins, f"{page}: {name}"


def _roles() -> set[str]:
    return {f"mailmart_{name}" for name in ("owner", "api", "intake", "worker", "analyst", "workspace_analyst")}


def test_every_error_code_is_documented() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.ApiError)]
    codes = {value.code for value in classes} | set(errors.NOT_FOUND) | {"METHOD_NOT_ALLOWED", "EXPORT_FAILED"}
    assert set(re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", pages()["docs/reference/errors.md"])) == codes


def test_every_event_type_is_explained() -> None:
    known = re.search(
        r"macro known_event_types\(\) -%\}(.*?)\{%",
        (PROJECT_ROOT / "macros/parsing/rejection_reasons.sql").read_text(),
        re.DOTALL,
    )
    assert known is not None
    rows = re.findall(r"^\| `(\w+)` \|", _section("docs/explanation/counting.md", "Event types"), re.MULTILINE)
    assert set(rows) == set(re.findall(r"'(\w+)'", known[1]))


def test_every_problem_of_a_rejected_event_is_explained() -> None:
    model = _models()["fct_rejected_events"]
    (column,) = (column for column in model["columns"] if column["name"] == "problem")
    section = _section("docs/explanation/counting.md", "Rejected events")
    assert re.findall(r"^### (\w+)$", section, re.MULTILINE) == column["data_tests"][0]["accepted_values"]["arguments"]["values"]


def test_every_problem_has_an_advice() -> None:
    text = (PROJECT_ROOT / "macros/parsing/advice.sql").read_text()
    section = _section("docs/explanation/counting.md", "Rejected events") + _section(
        "docs/explanation/counting.md", "Messages with a problem"
    )
    left_out = re.search(
        r"macro left_out_problems\(\) -%\}(.*?)\{%",
        (PROJECT_ROOT / "macros/parsing/rejection_reasons.sql").read_text(),
        re.DOTALL,
    )
    assert left_out is not None
    explained = set(re.findall(r"^### (\w+)$", section, re.MULTILINE)) - set(re.findall(r"'(\w+)'", left_out[1]))
    advised = set(re.findall(r"^        '(\w+)': '", text, re.MULTILINE))
    assert explained <= advised
    # of rows of the app's tables
    of_app = (PROJECT_ROOT / "models/docs/entities.md").read_text().partition("{% docs app_problem %}")[2].partition("{%")[0]
    assert advised - explained <= set(re.findall(r"\w+", of_app))


def test_every_folder_of_macros_is_on_the_map() -> None:
    folders = {f"macros/{path.parent.name}" for path in (PROJECT_ROOT / "macros").glob("*/_*.yml")}
    assert (
        set(re.findall(r"^\| `(macros/\w+)` \|", _section("docs/explanation/architecture.md", "The macros"), re.MULTILINE))
        == folders
    )


def test_every_package_of_api_is_on_the_map() -> None:
    packages = {f"api/{path.parent.name}" for path in (PROJECT_ROOT / "api").glob("*/__init__.py")}
    assert set(re.findall(r"`(api/\w+)`", _section("docs/explanation/architecture.md", "The code"))) == packages


def _section(page: str, heading: str) -> str:
    """The text below a heading of the second level, up to the next one."""
    _, _, rest = pages()[page].partition(f"\n## {heading}\n")
    return rest.partition("\n## ")[0]


def test_every_setting_of_the_request_context_is_documented() -> None:
    macros = (PROJECT_ROOT / "macros" / "request" / "request_context.sql").read_text()
    settings = set(re.findall(r"request_setting\('(\w+)'", macros))
    documented = set(re.findall(r"`mailmart\.(\w+)`", pages()["docs/reference/request-context.md"]))
    assert settings
    assert documented == settings


def test_decisions_are_numbered_records() -> None:
    records = [page for page in pages() if re.match(r"docs/decisions/\d{4}-", page)]
    numbers = [int(Path(page).name[:4]) for page in records]
    # in order and unique; branches that are merged at the same time leave gaps
    assert numbers == sorted(set(numbers))
    index = pages()["docs/decisions/index.md"]
    for page in records:
        number, text = Path(page).name[:4], pages()[page]
        assert text.startswith(f"# {number} "), page
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], page
        assert f"[{text.partition(chr(10))[0].removeprefix('# ')}]({Path(page).name})" in index, page


@pytest.mark.slow
def test_generated_sections_are_not_empty() -> None:
    for page, text in pages().items():
        if "<!-- generated:" in text:
            assert len(insert_sections(text)) > len(text) + 1000, page
            assert "<!-- generated:" not in insert_sections(text), page


def test_edits_of_the_tutorials_apply() -> None:
    """One after the other, each at exactly one place. That they work: tests/e2e/test_tutorials.py."""
    files: dict[str, str] = {}
    for page in tutorials():
        for name, old, new in (edit(block) for block in blocks(page) if block.title and block.language != "sh"):
            if not old:
                assert name not in project_files(), f"{page}: {name} exists"
                continue
            text = files.setdefault(name, (PROJECT_ROOT / name).read_text())
            assert text.count(old) == 1, f"{page}: {name} has {text.count(old)} times:\n{old}"
            files[name] = text.replace(old, new)
    assert len(files) > 5


def test_json_examples_are_json() -> None:
    for page in pages():
        for block in blocks(page):
            if block.language == "json":
                json.loads(block.text)


def test_pages_use_the_words_of_the_field() -> None:
    found = {
        page: sorted({match[0] for match in FORBIDDEN.finditer(text)}) for page, text in pages().items() if page != OLD_NAMES
    }
    assert {page: words for page, words in found.items() if words} == {}


def test_shell_blocks_are_read() -> None:
    assert [command_lines(block) for block in blocks("README.md") if block.language == "sh"] == [["make demo", "make test"]]
