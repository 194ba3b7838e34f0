"""Hooks of mkdocs (mkdocs.yml names this file): generated sections, the changelog, Mermaid without a CDN."""

from __future__ import annotations

import importlib.util
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from api.settings import PROJECT_ROOT
from api.tools.docs.sections import insert_sections

MERMAID = "assets/mermaid.min.js"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds what is not below docs/: the changelog, and Mermaid's own script out of the package that carries it."""
    files.append(File.generated(config, "changelog.md", content=(PROJECT_ROOT / "CHANGELOG.md").read_text()))
    files.append(File.generated(config, MERMAID, abs_src_path=str(_mermaid())))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Inserts generated sections; a page with a Mermaid picture loads the script before the theme would fetch it elsewhere."""
    text = insert_sections(markdown)
    if re.search(r"^```mermaid$", text, re.MULTILINE):
        source = posixpath.relpath(MERMAID, posixpath.dirname(page.file.dest_uri) or ".")
        text += f'\n\n<script src="{source}"></script>\n'
    return text


def _mermaid() -> Path:
    # its wheel carries the file of the npm package mermaid, unchanged; nothing else of it is used
    package = importlib.util.find_spec("mermaidx")
    if package is None or package.origin is None:
        raise FileNotFoundError("mermaidx is not installed: run make install-dev")
    return Path(package.origin).parent / "assets" / "mermaid.js"
