"""Where settings are from: the environment, .env, the running installation, the defaults."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.running_settings import read_running_settings, running_settings
from api.cli.settings_sources import load_settings, origin_lines
from api.errors import SettingsError
from api.settings import PROJECT_ROOT, Settings

COMMAND = "sources"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(environ: dict[str, str], command: str = COMMAND) -> Settings:
    copy = dict(environ)
    load_settings(command, copy)
    return Settings.from_environment(copy)


def test_the_environment_comes_first_then_the_file_then_what_runs(folder: Path) -> None:
    home = folder / "home"
    home.mkdir()
    started = {"MAILMART_HOME": str(home), "MAILMART_PORT": "8310", "MAILMART_BUILD_EVERY": "1m", "MAILMART_TARGET": "ann"}
    (folder / ".env").write_text("MAILMART_HOME=home\nMAILMART_BUILD_EVERY=2m\nMAILMART_TARGET=bob\n")
    with running_settings(Settings.from_environment(started), started):
        settings = loaded({"MAILMART_TARGET": "carl", "MAILMART_NIGHTLY_AT": ""})
        assert (settings.target, settings.build_every, settings.port, settings.intake_port) == ("carl", 120, 8310, 8320)
        assert settings.home == home
        # a variable that is set to nothing is set: the default
        assert loaded({"MAILMART_PORT": ""}).port == 8080
        # who starts an installation, or a part of one, configures it
        assert loaded({}, "run").port == loaded({}, "serve").port == 8080
    assert loaded({}).port == 8080


def test_what_runs_leaves_no_secret_of_the_services_and_whole_paths(folder: Path) -> None:
    environ = {
        "MAILMART_HOME": "home",
        "MAILMART_DATABASE_URL": "postgresql://a:it's$@localhost/mail",
        "MAILMART_EXPORT_FOLDER": "files",
        "MAILMART_JWT_SECRET": "x" * 32,
        "MAILMART_SMTP_URL": "smtp://a:b@localhost",
        "MAILMART_MAIL_FROM": "a@b.example",
        "MAILMART_POSTHOG_KEY": "k",
        "MAILMART_API_DATABASE_URL": "postgresql://api:secret@localhost/mail",
    }
    (folder / "home").mkdir()
    with running_settings(Settings.from_environment(environ), environ):
        path = folder / "home" / "running.env"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        running = read_running_settings(folder / "home")
    assert running is not None
    assert {name: variable.value for name, variable in running.variables.items()} == {
        "MAILMART_DATABASE_URL": "postgresql://a:it's$@localhost/mail",
        "MAILMART_EXPORT_FOLDER": str(folder / "files"),
        "MAILMART_HOST": "127.0.0.1",
        "MAILMART_PORT": "8080",
        "MAILMART_INTAKE_PORT": "8090",
    }


def test_two_installations_are_kept_apart(folder: Path) -> None:
    environs = [{"MAILMART_HOME": str(folder / name), "MAILMART_PORT": port} for name, port in (("a", "8310"), ("b", "8330"))]
    for environ in environs:
        Path(environ["MAILMART_HOME"]).mkdir()
    a, b = (Settings.from_environment(environ) for environ in environs)
    with running_settings(a, environs[0]), running_settings(b, environs[1]):
        assert [loaded({"MAILMART_HOME": str(folder / name)}).port for name in "ab"] == [8310, 8330]


def test_what_a_killed_installation_has_left_does_not_count(folder: Path) -> None:
    environ = {**os.environ, "MAILMART_HOME": str(folder), "MAILMART_PORT": "8310"}
    program = (
        "import os, signal\nfrom api.cli.running_settings import running_settings\nfrom api.settings import Settings\n"
        "with running_settings(Settings.from_environment()):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program], env=environ, cwd=PROJECT_ROOT)
    assert "MAILMART_PORT=8310" in (folder / "running.env").read_text()
    assert loaded({"MAILMART_HOME": str(folder)}).port == 8080
    # the next one is not kept from starting
    with running_settings(Settings.from_environment(environ), environ):
        assert loaded({"MAILMART_HOME": str(folder)}).port == 8310


def test_a_chosen_port_replaces_the_first_one(folder: Path) -> None:
    environ = {"MAILMART_HOME": str(folder)}
    first, second = Settings.from_environment(environ), Settings.from_environment({**environ, "MAILMART_PORT": "8311"})
    with running_settings(first, environ), running_settings(second, environ):
        assert loaded(environ).port == 8311


def test_what_others_can_write_is_refused(folder: Path) -> None:
    environ = {"MAILMART_HOME": str(folder)}
    with running_settings(Settings.from_environment(environ), environ):
        (folder / "running.env").chmod(0o666)
        with pytest.raises(SettingsError, match=r"other users can write .*running\.env"):
            load_settings(COMMAND, dict(environ))


def test_a_named_file_and_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "below").mkdir()
    (folder / "below" / "mine.env").write_text("MAILMART_HOME=data\nMAILMART_EXPORT_FOLDER=/files\n")
    (folder / ".env").write_text("MAILMART_PORT=8310\n")
    # a path in a file begins at the file's folder
    settings = loaded({"MAILMART_ENV_FILE": "below/mine.env"})
    assert (settings.home, settings.export_folder, settings.port) == (folder / "below" / "data", Path("/files"), 8080)
    assert loaded({"MAILMART_ENV_FILE": "off"}).port == 8080
    assert loaded({}).port == 8310
    with pytest.raises(SettingsError, match=r"there is no .*/missing"):
        load_settings(COMMAND, {"MAILMART_ENV_FILE": "missing"})
    (folder / ".env").unlink()
    assert loaded({}).port == 8080


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("MAILMART_PROT=1", "there is no setting MAILMART_PROT", "Did you mean MAILMART_PORT?"),
        ("mailmart_port=1", "there is no setting mailmart_port", "Did you mean MAILMART_PORT?"),
        ("MAILMART_ZZ_QQ=1", "there is no setting MAILMART_ZZ_QQ", "`mailmart settings` prints all settings."),
        ("MAILMART_ENV_FILE=other", "works in the environment only", "Remove the line."),
        ("MAILMART_DATABASE_URL=postgresql://$USER@db/m", "MAILMART_DATABASE_URL has a $", "single quotes"),
    ],
)
def test_a_wrong_line_is_named(folder: Path, line: str, message: str, hint: str) -> None:
    (folder / ".env").write_text(f"# mine\n{line}\n")
    with pytest.raises(SettingsError) as error:
        load_settings(COMMAND, {})
    assert error.value.message.startswith(f"{folder / '.env'}, line 2: ")
    assert message in error.value.message
    assert hint in error.value.hint


def test_a_working_directory_that_was_deleted_or_is_closed_has_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = folder / "closed"
    closed.mkdir()
    monkeypatch.chdir(closed)
    (closed / ".env").write_text("MAILMART_PORT=8310\n")
    with monkeypatch.context() as patch:
        stat_of = Path.stat

        def refuse(path: Path) -> os.stat_result:
            if path.parent == closed:
                raise PermissionError(13, "Permission denied")
            return stat_of(path)

        patch.setattr(Path, "stat", refuse)
        assert loaded({"MAILMART_HOME": str(folder)}).port == 8080
    shutil.rmtree(closed)
    assert loaded({"MAILMART_HOME": str(folder)}).port == 8080


def test_names_of_others_are_left_alone_and_those_of_boto3_are_read(folder: Path) -> None:
    (folder / ".env").write_text(
        "PATH=/nowhere\nPOSTGRES_PASSWORD=$x\nMAILMART_DBT_TARGET=dev\nAWS_ENDPOINT_URL=http://127.0.0.1\n"
    )
    environ: dict[str, str] = {}
    load_settings(COMMAND, environ)
    assert environ == {"AWS_ENDPOINT_URL": "http://127.0.0.1"}


def test_the_example_of_deploy_is_read(folder: Path) -> None:
    text = (PROJECT_ROOT / "deploy" / ".env.example").read_text()
    (folder / ".env").write_text(
        "\n".join(line.removeprefix("#") if line.startswith("#MAILMART") else line for line in text.splitlines())
    )
    assert loaded({"MAILMART_HOME": "x"}) == Settings.from_environment({"MAILMART_HOME": "x"})


def test_an_error_says_where_the_value_is_from(folder: Path) -> None:
    (folder / ".env").write_text("\nMAILMART_PORT=many\n")
    command = [sys.executable, "-m", "api", "keys", "list"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAILMART_")}
    result = subprocess.run(command, env={**environ, "PYTHONPATH": str(PROJECT_ROOT)}, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == "error: MAILMART_PORT is 'many'"
    assert result.stderr.splitlines()[-1] == f"MAILMART_PORT is set in {folder / '.env'}, line 2."
    assert origin_lines("MAILMART_HOME is wrong", {"MAILMART_PORT": "x"}) == []
    # its help is there whatever the file has
    helped = subprocess.run(
        [*command, "--help"], env={**environ, "PYTHONPATH": str(PROJECT_ROOT)}, cwd=folder, capture_output=True
    )
    assert helped.returncode == 0
