"""Files of variables: what is read, and which file or line is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from api.cli.env_file import parse_env_file, quoted, read_env_file
from api.errors import SettingsError

PATH = Path("/x/.env")
VALUES = ["plain", "with space", "do$$ar", "$HOME", "#hash", "a #b", "it's", "qu'o\"te$\\", "", "é", "two\nlines", "back\\slash'"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=1", "1"),
        ("  export A = 1  ", "1"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A=a#b", "a#b"),
        ("A=a b # c", "a b"),
        ("A='a # b' # c", "a # b"),
        ("A='$B'", "$B"),
        ('A="a\\n\\"b\\" \\$c \\x"', 'a\n"b" $c \\x'),
        ("A='one\ntwo'\nB=2", "one\ntwo"),
        ("# comment\n\nA=1", "1"),
        ("A=1\nA=2", "2"),
        ("A=x=y", "x=y"),
        ("A=5$", "5$"),
    ],
)
def test_values(text: str, value: str) -> None:
    assert parse_env_file(text, PATH)["A"].value == value


@pytest.mark.parametrize("value", VALUES)
def test_what_is_written_is_read_back_here_and_by_a_shell(value: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"A={quoted(value)}\nB=2\n")
    assert {name: variable.value for name, variable in read_env_file(path).items()} == {"A": value, "B": "2"}
    shell = subprocess.run(["sh", "-c", '. "$1"; printf %s "$A"', "-", str(path)], capture_output=True, text=True, check=True)
    assert shell.stdout == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nsecret words\n", "/x/.env, line 2: this is not NAME=value"),
        ("A=1\n=2", "/x/.env, line 2: this is not NAME=value"),
        ("\n\nA='1\nB=2\n", "/x/.env, line 3: the quote is not closed"),
        ("A='1' 2", "/x/.env, line 1: there is text after the closing quote"),
        ("A='x\ny'\nB", "/x/.env, line 3: this is not NAME=value"),
    ],
)
def test_errors_name_the_line_and_not_what_is_in_it(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse_env_file(text, PATH)
    assert (error.value.message, bool(error.value.hint)) == (message, True)


def test_a_dollar_that_others_would_expand_is_known() -> None:
    variables = parse_env_file('A=$B\nC="${D}"\nE=\'$F\'\nG="\\$H"\nI=5$', PATH)
    assert [name for name, variable in variables.items() if variable.is_expanded] == ["A", "C"]


@pytest.mark.parametrize("content", [b"A=\xff", b"A=\x00", b"A" * 1_000_001])
def test_what_is_no_text_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"\.env"):
        read_env_file(path)


def test_windows_lines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"\xef\xbb\xbfA=1\r\nB='2'\r\n")
    assert {name: variable.value for name, variable in read_env_file(path).items()} == {"A": "1", "B": "2"}


def test_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1")
    path.chmod(0o666)
    with pytest.raises(SettingsError, match="other users can write") as error:
        read_env_file(path)
    assert error.value.hint == f"chmod go-w {path}"
    path.chmod(0o644)
    assert read_env_file(path)["A"].value == "1"


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1")
    owner = 54321
    if os.geteuid() == 0:
        os.chown(path, owner, owner)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner)
    with pytest.raises(SettingsError, match="belongs to the user"):
        read_env_file(path)


def test_a_pipe_or_a_folder_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(SettingsError, match=r"not a regular file|Is a directory"):
            read_env_file(path)
