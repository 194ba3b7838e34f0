"""Files of variables (.env): reads those of a user or refuses them, and writes values that every reader takes literally.

The syntax is what python-dotenv, Docker Compose and a shell read alike: NAME=value, `export` before it, comments, single quotes
for a literal value and double quotes with escapes. No variable is expanded, so a `$` that others would expand is reported.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from api.errors import SettingsError

MAX_BYTES = 1_000_000
ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
QUOTED_VALUE = {"'": re.compile(r"'([^']*)'"), '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)}
AFTER_VALUE = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
COMMENT = re.compile(r"(?:^|[ \t]+)#.*")
EXPANSION = re.compile(r"\$[A-Za-z_{(]")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True)
class Variable:
    """The value of a variable, and where it is: a line from 1. `is_expanded`: other programs would expand a `$` in it."""

    value: str
    line: int
    is_expanded: bool = False


def read_env_file(path: Path, *, hint: str = "MAILMART_ENV_FILE names another file; `off`: none.") -> dict[str, Variable]:
    """The variables of a file. If a name is there twice, the last one counts. `hint`: what to do if the file is refused.

    Raises:
        SettingsError: the file cannot be read, others could have written it, or a line is not a variable.
        FileNotFoundError: there is no such file.
    """
    text = _read_own(path, hint)
    if "\0" in text:
        raise SettingsError(f"{path} has a NUL byte", hint="Write it as text, one NAME=value per line.")
    return parse_env_file(text.replace("\r\n", "\n"), path)


def parse_env_file(text: str, path: Path) -> dict[str, Variable]:
    """The variables in the text of a file; `path` is for errors.

    Raises:
        SettingsError: a line is not a variable.
    """
    variables = {}
    position = 0
    while position < len(text):
        line = text.count("\n", 0, position) + 1
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        content = text[position:end].strip()
        if not content or content.startswith("#"):
            position = end + 1
            continue
        assignment = ASSIGNMENT.match(text, position, end)
        if assignment is None:
            # not the line itself: it can be a secret
            raise SettingsError(f"{path}, line {line}: this is not NAME=value", hint="Begin a comment with #.")
        start = assignment.end()
        if text[start : start + 1] in QUOTED_VALUE:
            variables[assignment[1]], position = _quoted_value(text, start, path, line)
        else:
            value = COMMENT.sub("", text[start:end]).strip()
            variables[assignment[1]] = Variable(value, line, EXPANSION.search(value) is not None)
            position = end + 1
    return variables


def quoted(value: str) -> str:
    """The value as readers of such files take it literally: most of them expand $ outside of single quotes."""
    if value and all(character.isalnum() or character in "-_./:@%+" for character in value):
        return value
    if "'" not in value:
        return f"'{value}'"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _quoted_value(text: str, start: int, path: Path, line: int) -> tuple[Variable, int]:
    """A value in quotes, which may have several lines, and the position of the line after it."""
    mark = text[start]
    match = QUOTED_VALUE[mark].match(text, start)
    if match is None:
        raise SettingsError(f"{path}, line {line}: the quote is not closed", hint=f"End the value with {mark}")
    after = AFTER_VALUE.match(text, match.end())
    if after is None:
        raise SettingsError(
            f"{path}, line {line}: there is text after the closing quote", hint="Put the whole value between the quotes."
        )
    if mark == "'":
        return Variable(match[1], line), after.end()
    value = re.sub(r"\\(.)", _unescape, match[1], flags=re.DOTALL)
    is_expanded = EXPANSION.search(re.sub(r"\\.", "", match[1], flags=re.DOTALL)) is not None
    return Variable(value, line, is_expanded), after.end()


def _unescape(match: re.Match[str]) -> str:
    escaped = match[1]
    return ESCAPES.get(escaped, escaped if escaped in '"\\$`' else match[0])


def _read_own(path: Path, hint: str) -> str:
    """The text of a file that only we, or root, can have written: who writes it decides what we connect to, and delete."""
    try:
        # a named pipe must not block
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - flags
            _check_own(path, os.fstat(file.fileno()), hint)
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    if len(content) > MAX_BYTES:
        raise SettingsError(f"{path} has more than {MAX_BYTES:,} bytes", hint=hint)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}, line {line}: this is not UTF-8", hint="Save the file as UTF-8.") from error


def _check_own(path: Path, status: os.stat_result, hint: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SettingsError(f"{path} is not a regular file", hint=hint)
    if status.st_uid not in (os.geteuid(), 0):
        raise SettingsError(
            f"{path} belongs to {_user(status.st_uid)}, who could change what this command does",
            hint=f"Run the command as {_user(status.st_uid)}, or give the file to {_user(os.geteuid())}. {hint}",
        )
    others = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid))
    if others:
        raise SettingsError(f"other users can write {path}", hint=f"chmod go-w {path}")


def _is_own_group(gid: int) -> bool:
    """Whether a group is the one that many systems give each user: of the same name, without other members."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _user(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user {uid}"
