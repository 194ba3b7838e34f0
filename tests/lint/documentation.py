"""Reads the project's Markdown: pages, fenced blocks, command lines, inline code."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from api.settings import PROJECT_ROOT

TOP_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
FENCE = re.compile(r"^( *)```(\w*)([^\n`]*)\n(.*?)^\1``` *$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
TITLE = re.compile(r'title="([^"]+)"')
ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")
SHELL = ("sh", "bash")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, without the indentation of its fence."""

    page: str
    language: str
    title: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command line of a block: the words after variables that are set for it alone."""

    page: str
    line: str
    words: tuple[str, ...]


@cache
def pages() -> dict[str, str]:
    """Page, relative to the project's folder → its text."""
    files = [PROJECT_ROOT / name for name in TOP_PAGES] + sorted((PROJECT_ROOT / "docs").rglob("*.md"))
    return {str(file.relative_to(PROJECT_ROOT)): file.read_text() for file in files}


def tutorials() -> list[str]:
    """The tutorials in the order in which a reader follows them: each page names the one after it under "Next"."""
    order = ["docs/tutorial/first-dashboard.md"]
    while next_page := re.search(r"^## Next\n+.*?\]\((\S+?\.md)\)", pages()[order[-1]], re.MULTILINE):
        order.append(f"docs/tutorial/{next_page[1]}")
    return order


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for match in FENCE.finditer(pages()[page]):
        indent, language, rest, text = match.groups()
        title = TITLE.search(rest)
        unindented = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
        yield Block(page, language, title[1] if title else "", unindented)


def command_lines(block: Block) -> list[str]:
    """The lines of a shell block, continued ones joined, without comments and empty ones."""
    joined = re.sub(r"\\\n\s*", "", block.text)
    # a quote that is open at the end of a line goes on in the next one
    lines: list[str] = []
    for line in joined.splitlines():
        if lines and lines[-1].count("'") % 2:
            lines[-1] += "\n" + line
        elif line.strip() and not line.lstrip().startswith("#"):
            lines.append(line)
    return lines


def commands() -> Iterator[Command]:
    """Every command line of every shell block."""
    for page in pages():
        for block in blocks(page):
            if block.language in SHELL:
                for line in command_lines(block):
                    # what is set to the output of a command is that command
                    inner = re.fullmatch(r"""(?:[A-Z_]+=|eval\s+)"?\$\((.*)\)"?\s*(?:#.*)?""", line)
                    words = shlex.split(inner[1] if inner else line, comments=True)
                    while words and ASSIGNMENT.match(words[0]):
                        words = words[1:]
                    if words:
                        yield Command(page, line, tuple(words))


def inline_code() -> Iterator[tuple[str, str]]:
    """Page and text of every inline code span outside of fenced blocks."""
    for page, text in pages().items():
        for span in INLINE.findall(FENCE.sub("", text)):
            yield page, span


@cache
def project_files() -> frozenset[str]:
    """The project's files and folders: those that Git tracks, and new ones that it does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = {Path(name) for name in listed.stdout.splitlines() if (PROJECT_ROOT / name).exists()}
    return frozenset(str(path) for file in files for path in (file, *file.parents))


@cache
def source_text(*suffixes: str) -> str:
    """All of the project's files with these suffixes, outside of the documentation, as one text."""
    names = sorted(name for name in project_files() if name.endswith(suffixes) and not name.startswith("docs/"))
    return "\n".join((PROJECT_ROOT / name).read_text() for name in names if (PROJECT_ROOT / name).is_file())


def edit(block: Block) -> tuple[str, str, str]:
    """File, the text that is there, the text that takes its place, of a block with a file as its title; '' for a new file."""
    if block.language != "diff":
        return block.title, "", block.text
    lines = block.text.splitlines(keepends=True)
    # an empty line of the file is written without the blank before it
    old = "".join(line[1:] or line for line in lines if not line.startswith("+"))
    new = "".join(line[1:] or line for line in lines if not line.startswith("-"))
    return block.title, old, new
