"""The settings of one process, read once from its environment.

Each setting is one field of `Settings`: its type, bounds, default and description. pydantic converts and checks the values;
`mailmart settings` prints the reference page from the same fields.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import time
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from api.errors import SettingsError
from api.net.ssrf import Network, parse_networks
from api.plurals import counted

PROJECT_ROOT = Path(__file__).resolve().parent.parent
PREFIX = "MAILMART_"
# names a file of settings, and is not a setting itself (api/cli/settings_sources.py)
ENV_FILE = "MAILMART_ENV_FILE"
# PostHog's cloud in the United States, the default of its SDK
POSTHOG_HOST = "https://us.i.posthog.com"
ENCRYPTIONS = ("none", "AES256", "aws:kms")
# the user who runs the embedded servers if root starts them
SERVER_USER = "mailmart"

EVERY_COMMAND = ("every command",)
SERVE, WORKER, SCHEDULER, INTAKE = "serve", "worker", "scheduler", "intake"
# the processes of an installation, and the commands that start them
SERVICES = frozenset((SERVE, WORKER, SCHEDULER, INTAKE, "run", "demo"))
# variables with the path of a file or folder
PATHS = frozenset(("MAILMART_HOME", "MAILMART_EXPORT_FOLDER", "MAILMART_JWT_PUBLIC_KEY"))
MIGRATING = ("migrate", "up", "run", "demo")
# process -> the setting with the URL of its own login
PROCESS_DATABASE_URLS = {
    SERVE: "api_database_url",
    INTAKE: "intake_database_url",
    WORKER: "worker_database_url",
    SCHEDULER: "scheduler_database_url",
}


@dataclass(frozen=True)
class EnvVar:
    """What the reference page says about a setting.

    Attributes:
        section: heading on the reference page.
        help: what the setting does; Markdown.
        read_by: commands that read it. `run` and `demo` start `serve`, `intake`, `worker` and `scheduler`.
        default: the default for people, if the field's own default does not show it.
        is_secret: the value is never printed.
        name: variable without the prefix, if it is not the field's name.
    """

    section: str
    help: str
    read_by: tuple[str, ...]
    default: str = ""
    is_secret: bool = False
    name: str = ""


class InvalidSettingError(ValueError):
    """A value that a setting cannot have: the end of the sentence "MAILMART_X …", and how to fix it."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


@dataclass(frozen=True, repr=False)
class Settings:
    """Settings of one process. An unset or empty variable means the default."""

    database_url: Annotated[
        str | None,
        EnvVar(
            "Servers",
            "URL of PostgreSQL: `postgresql://login:password@host:port/database`. The login must be a member of the `mailmart_*`"
            " roles that the command uses; `mailmart migrate` creates the roles.",
            EVERY_COMMAND,
            default="the embedded PostgreSQL",
            is_secret=True,
        ),
    ]
    redis_url: Annotated[
        str | None,
        EnvVar(
            "Servers",
            "URL of Valkey or Redis, which counts requests for the rate limits.",
            (SERVE, INTAKE, "up", "run", "demo"),
            default="the embedded Valkey",
            is_secret=True,
        ),
    ]
    home: Annotated[
        Path,
        AfterValidator(Path.absolute),
        EnvVar(
            "Servers",
            "Folder of this installation: the embedded servers' data, passwords, logs and exported files.",
            EVERY_COMMAND,
            default="`.mailmart` in the project's folder",
        ),
    ]
    server_user: Annotated[
        str,
        EnvVar(
            "Servers",
            "User who runs the embedded servers if root starts them. The default user is created if it is missing. Not `nobody`:"
            " its other programs could read the data.",
            ("up", "down", "run", "demo", SERVE, INTAKE),
        ),
    ] = SERVER_USER
    postgres_port: Annotated[
        int,
        Field(ge=0, le=65535),
        EnvVar(
            "Servers",
            "TCP port on 127.0.0.1 of the embedded PostgreSQL, from its next start on, for programs that cannot"
            " use a unix socket. 0: it listens on its unix socket only.",
            ("up", "run", "demo"),
        ),
    ] = 0
    api_database_url: Annotated[
        str | None,
        EnvVar(
            "Servers",
            "URL of PostgreSQL for `serve`, with a login that is a member of `mailmart_api` only.",
            (SERVE,),
            default="`MAILMART_DATABASE_URL`",
            is_secret=True,
        ),
    ] = None
    intake_database_url: Annotated[
        str | None,
        EnvVar(
            "Servers",
            "URL of PostgreSQL for `intake`, with a login that is a member of `mailmart_intake` only.",
            (INTAKE,),
            default="`MAILMART_DATABASE_URL`",
            is_secret=True,
        ),
    ] = None
    worker_database_url: Annotated[
        str | None,
        EnvVar(
            "Servers",
            "URL of PostgreSQL for `worker`, with a login that is a member of `mailmart_worker` only.",
            (WORKER,),
            default="`MAILMART_DATABASE_URL`",
            is_secret=True,
        ),
    ] = None
    scheduler_database_url: Annotated[
        str | None,
        EnvVar(
            "Servers",
            "URL of PostgreSQL for `scheduler`, with a login that is a member of `mailmart_worker` and, because it builds, of"
            " `mailmart_owner`.",
            (SCHEDULER,),
            default="`MAILMART_DATABASE_URL`",
            is_secret=True,
        ),
    ] = None
    read_database_url: Annotated[
        str | None,
        EnvVar(
            "Servers",
            "URL of a streaming replica of the database, with the same login. Responses and exports are read from it while it has"
            " the published batch; otherwise from the primary. See [Read from a replica](../how-to/operators/replica.md).",
            (SERVE, WORKER),
            default="no replica",
            is_secret=True,
        ),
    ] = None
    read_max_lag_seconds: Annotated[
        int,
        Field(ge=0, le=3600),
        EnvVar(
            "Servers",
            "Seconds after a publication during which the API still serves the batch that the replica has. Then the"
            " primary answers until the replica has it.",
            (SERVE,),
        ),
    ] = 10
    target: Annotated[
        str,
        EnvVar(
            "Servers",
            "dbt target to build and serve: `production`, or a developer's schema prefix. Exports and scheduled reports need"
            " `production`.",
            EVERY_COMMAND,
        ),
    ] = "production"
    host: Annotated[str, EnvVar("API", "Address that the API listens on.", (SERVE, INTAKE, "sources"))] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535), EnvVar("API", "Port that the API listens on.", (SERVE, "sources"))] = 8080
    public_address: Annotated[
        str | None,
        AfterValidator(_public_url),
        EnvVar(
            "API",
            "URL of the API as its users see it. Download links start with it. Set it if the API runs behind a proxy.",
            (SERVE, WORKER, INTAKE, "sources", "mcp"),
            default="`http://HOST:PORT`",
            name="PUBLIC_URL",
        ),
    ] = None
    pool_size: Annotated[
        int,
        Field(ge=1, le=1000),
        EnvVar("API", "Connections to PostgreSQL of each server process.", (SERVE,)),
    ] = 8
    pool_timeout_seconds: float = 3.0
    query_timeout_seconds: Annotated[
        int,
        Field(ge=1, le=3600),
        EnvVar("API", "Seconds that one query of a request, or of the charts of a mail, may take.", (SERVE, WORKER, SCHEDULER)),
    ] = 10
    response_cache_mb: Annotated[
        int,
        Field(ge=0, le=1_000_000),
        EnvVar("API", "Megabytes of responses that each server process caches. 0: no cache.", (SERVE,)),
    ] = 64
    rate_limit_factor: Annotated[
        int,
        Field(ge=1, le=1_000_000),
        EnvVar("API", "Multiplies the rate limit of every endpoint, and of every source of webhooks.", (SERVE, INTAKE)),
    ] = 1
    cors_origins: Annotated[
        tuple[str, ...],
        BeforeValidator(_origins),
        EnvVar(
            "API",
            "Origins of web pages that may call the API, separated by commas: `https://dashboard.example.com`.",
            (SERVE,),
            default="none",
        ),
    ] = ()
    embed_secret: Annotated[
        str | None,
        EnvVar(
            "API",
            "Secret that signs the tokens of embedded charts, at least 32 bytes; to replace it, the new one, a comma and the one"
            " before it. See [Embed a chart](../how-to/consumers/embed.md).",
            (SERVE,),
            default="no embedded charts",
            is_secret=True,
        ),
    ] = None
    embed_origins: Annotated[
        tuple[str, ...],
        BeforeValidator(_origins),
        EnvVar(
            "API",
            "Origins of web pages that may show a chart in a frame, separated by commas: `https://dashboard.example.com`.",
            (SERVE,),
            default="none",
        ),
    ] = ()
    trusted_proxies: Annotated[
        tuple[Network, ...],
        BeforeValidator(_networks),
        EnvVar(
            "API",
            "Addresses and networks of your reverse proxies, separated by commas: `10.1.2.3,192.168.0.0/24`. Their header"
            " `X-Forwarded-For` says who the client is, for the limit of failed logins.",
            (SERVE,),
            default="none",
        ),
    ] = ()
    metrics_port: Annotated[
        int,
        Field(ge=0, le=65535),
        EnvVar("API", "Port on 127.0.0.1 that serves metrics to Prometheus. 0: no metrics.", (SERVE,)),
    ] = 0
    api_key: Annotated[
        str | None,
        EnvVar(
            "API",
            "API key that the tools for agents call the API with.",
            ("mcp",),
            default="none",
            is_secret=True,
        ),
    ] = None
    intake_host: Annotated[
        str | None,
        EnvVar("Intake", "Address that the intake listens on for webhooks.", (INTAKE, "sources"), default="`MAILMART_HOST`"),
    ] = None
    intake_port_or_none: Annotated[
        int | None,
        Field(ge=0, le=65535),
        EnvVar(
            "Intake",
            "Port that the intake listens on for webhooks.",
            (INTAKE, "sources"),
            default="`MAILMART_PORT` + 10: 8090",
            name="INTAKE_PORT",
        ),
    ] = None
    intake_public_address: Annotated[
        str | None,
        AfterValidator(_public_url),
        EnvVar(
            "Intake",
            "URL of the intake as the providers see it: the URLs of sources start with it. Set it if the proxy in front of the"
            " intake has another address than that of the API.",
            (INTAKE, "sources"),
            default="`MAILMART_PUBLIC_URL`, or `http://HOST:PORT` of the intake",
            name="INTAKE_PUBLIC_URL",
        ),
    ] = None
    intake_metrics_port: Annotated[
        int,
        Field(ge=0, le=65535),
        EnvVar("Intake", "Port on 127.0.0.1 that serves the intake's metrics to Prometheus. 0: no metrics.", (INTAKE,)),
    ] = 0
    jwt_secret: Annotated[
        str | None,
        EnvVar(
            "Authentication",
            "Secret of tokens signed with HS256, at least 32 bytes. Set one of the three `JWT` keys, or none.",
            (SERVE,),
            is_secret=True,
        ),
    ] = None
    jwt_public_key: Annotated[
        str | None,
        AfterValidator(_text_or_file),
        EnvVar("Authentication", "RSA public key of tokens signed with RS256: PEM text, or the path of a PEM file.", (SERVE,)),
    ] = None
    jwt_jwks_url: Annotated[
        str | None,
        AfterValidator(_https_url),
        EnvVar("Authentication", "URL of the JWKS with the RSA public keys of tokens signed with RS256.", (SERVE,)),
    ] = None
    jwt_issuer: Annotated[
        str | None,
        EnvVar("Authentication", "`iss` that every token must have.", (SERVE,), default="any"),
    ] = None
    jwt_audience: Annotated[
        str | None,
        EnvVar("Authentication", "`aud` that every token must have.", (SERVE,), default="any"),
    ] = None
    nightly_at: Annotated[
        time,
        BeforeValidator(_time_of_day),
        EnvVar("Builds", "Time of day of the nightly run, in UTC.", (SCHEDULER, "batch")),
    ] = time(2)
    build_every: Annotated[
        int | None,
        BeforeValidator(_interval),
        EnvVar(
            "Builds",
            "Interval of continuous builds, in addition to the nightly run: `90s`, `5m`, `1h`; at least 10 seconds. A build"
            " that takes longer is followed by the next one. See"
            " [Fresh within minutes](../how-to/operators/fresh-within-minutes.md).",
            (SCHEDULER, "batch"),
            default="`off`",
        ),
    ] = None
    retain_payloads: Annotated[
        int | None,
        BeforeValidator(_days),
        EnvVar(
            "Retention",
            "Days for which webhook bodies and rejected lines are kept (`raw.webhook_payloads`, `raw.rejected_payloads`). They"
            " hold readable addresses. `off`: for ever.",
            (SCHEDULER, "batch"),
            default="`30`, or `MAILMART_RETAIN_EVENTS` if that is less",
        ),
    ] = None
    retain_events: Annotated[
        int | None,
        BeforeValidator(_days),
        AfterValidator(lambda days: days or None),
        EnvVar(
            "Retention",
            "Days for which events are kept, in `raw.email_events` and in core. Then the counts of their messages are final.",
            (SCHEDULER, "batch"),
            default="for ever",
        ),
    ] = None
    retain_raw_events: Annotated[
        int | None,
        BeforeValidator(_days),
        EnvVar(
            "Retention",
            "Days for which rows of `raw.email_events` are kept, if that is less than for events of core: those are a copy. A"
            " third of the disk, and no count changes. `off`: for ever. See"
            " [Retention](../how-to/operators/retention.md#without-raw-events).",
            (SCHEDULER, "batch"),
            default="as `MAILMART_RETAIN_EVENTS`",
        ),
    ] = None
    retain_messages: Annotated[
        int | None,
        BeforeValidator(_days),
        AfterValidator(lambda days: days or None),
        EnvVar(
            "Retention",
            "Days for which messages are kept after they were sent. Needs `MAILMART_RETAIN_EVENTS`, which must not be more."
            " Counts by day stay for ever.",
            (SCHEDULER, "batch"),
            default="for ever",
        ),
    ] = None
    columnstore_after: Annotated[
        int | None,
        BeforeValidator(_days),
        EnvVar(
            "Retention",
            "Days after which bodies and events that are stored in hypertables of TimescaleDB are converted to its columnstore."
            " `off`: never. See [TimescaleDB](../how-to/operators/timescale.md).",
            (SCHEDULER, "batch"),
            default="`7`, if the licence of TimescaleDB allows it",
        ),
    ] = None
    compress_after: Annotated[
        int | None,
        BeforeValidator(_days),
        AfterValidator(lambda days: days or None),
        EnvVar(
            "Retention",
            "Days after which stored events are compressed into blocks, in `raw.email_events` and in core. Every answer stays"
            " as it is. See [Compression](../how-to/operators/compression.md).",
            (SCHEDULER, "batch"),
            default="`off`",
        ),
    ] = None
    export_folder: Annotated[
        Path | None,
        AfterValidator(Path.absolute),
        EnvVar(
            "Exports", "Folder of exported files.", (SERVE, WORKER, SCHEDULER, "erase"), default="`exports` in `MAILMART_HOME`"
        ),
    ] = None
    export_bucket: Annotated[
        str | None,
        AfterValidator(_bucket),
        EnvVar(
            "Exports",
            "S3 bucket of exported files, instead of a folder. boto3 reads endpoint, region and credentials from its own"
            " variables: `AWS_ENDPOINT_URL`, `AWS_DEFAULT_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`.",
            (SERVE, WORKER, SCHEDULER, "erase"),
        ),
    ] = None
    export_prefix: Annotated[
        str,
        AfterValidator(_prefix),
        EnvVar("Exports", "Start of every key in the bucket: `mailmart/exports`.", (SERVE, WORKER, SCHEDULER, "erase")),
    ] = ""
    export_encryption: Annotated[
        str | None,
        AfterValidator(_encryption),
        EnvVar(
            "Exports",
            "Server-side encryption of each file in the bucket: `AES256` or `aws:kms`. `none`: the bucket decides.",
            (SERVE, WORKER, SCHEDULER, "erase"),
        ),
    ] = None
    max_exports_processing: Annotated[
        int | None,
        Field(ge=0, le=1_000_000),
        EnvVar(
            "Exports",
            "Exports of one workspace that may wait or be written at a time. `mailmart migrate` writes it to the database.",
            MIGRATING,
            default="50, or what the database has",
        ),
    ] = None
    max_export_mb: Annotated[
        int | None,
        Field(ge=0, le=1_000_000_000),
        EnvVar(
            "Exports",
            "Mebibytes of exported files that one workspace may have before it can create another export. `mailmart migrate`"
            " writes it to the database.",
            MIGRATING,
            default="10240, or what the database has",
        ),
    ] = None
    smtp_url: Annotated[
        str | None,
        EnvVar(
            "Reports",
            "Server that sends report mail. `smtp://user:password@host:587` uses STARTTLS, except to this machine."
            " `smtps://…` uses TLS from the first byte. Write `@` and `/` in the user or password as `%40` and `%2F`.",
            (WORKER,),
            default="no mail",
            is_secret=True,
        ),
    ] = None
    mail_from: Annotated[
        str | None,
        EnvVar(
            "Reports",
            'Sender of report mail: `reports@example.com`, or `"A name" <reports@example.com>`. Required with'
            " `MAILMART_SMTP_URL`.",
            (WORKER,),
        ),
    ] = None
    max_report_recipients: Annotated[
        int | None,
        Field(ge=0, le=1_000_000),
        EnvVar(
            "Reports",
            "Different recipients that the reports of one workspace may have together. `mailmart migrate` writes it to the"
            " database.",
            MIGRATING,
            default="200, or what the database has",
        ),
    ] = None
    max_report_mails_per_day: Annotated[
        int | None,
        Field(ge=0, le=1_000_000_000),
        EnvVar(
            "Reports",
            "Report mails that one workspace may send in a UTC day. `mailmart migrate` writes it to the database.",
            MIGRATING,
            default="1000, or what the database has",
        ),
    ] = None
    webhook_allowed_networks: Annotated[
        tuple[Network, ...],
        BeforeValidator(_networks),
        EnvVar(
            "Reports",
            "Private addresses and networks that report webhooks may call, separated by commas: `10.1.2.3,192.168.0.0/24`.",
            (SERVE, WORKER),
            default="none",
        ),
    ] = ()
    posthog_key: Annotated[
        str | None,
        AfterValidator(lambda text: text.strip() or None),
        EnvVar(
            "Telemetry",
            "Key of the PostHog project that receives operational events.",
            (SERVE, WORKER, SCHEDULER),
            default="no events",
            is_secret=True,
        ),
    ] = None
    posthog_host: Annotated[
        str,
        AfterValidator(_https_url),
        EnvVar("Telemetry", "URL of PostHog.", (SERVE, WORKER, SCHEDULER)),
    ] = POSTHOG_HOST
    project_root: Path = PROJECT_ROOT
    # where database_url is from, for error messages
    database_url_variable: str = "MAILMART_DATABASE_URL"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Reads the settings.

        Raises:
            SettingsError: a value is invalid, or two settings contradict each other.
        """
        values: dict[str, Any] = {"database_url": None, "redis_url": None, "home": default_home()}
        values |= {field: environ[name] for name, field, _ in env_vars() if environ.get(name)}
        try:
            settings = _adapter().validate_python(values)
        except ValidationError as error:
            problem = _settings_error(error)
        else:
            _check_combinations(settings)
            return settings
        # outside of the handler: pydantic's error holds all values, secrets too
        raise problem

    def for_process(self, process: str) -> Settings:
        """The settings of a process that runs: with its own database URL, if it has one, and no other's."""
        field = PROCESS_DATABASE_URLS[process]
        own_url: str | None = getattr(self, field)
        without_others = dataclasses.replace(
            self, api_database_url=None, intake_database_url=None, worker_database_url=None, scheduler_database_url=None
        )
        if own_url is None:
            return without_others
        return dataclasses.replace(without_others, database_url=own_url, database_url_variable=PREFIX + field.upper())

    @property
    def is_production(self) -> bool:
        """Whether the target is production, which alone has exports and scheduled reports."""
        return self.target == "production"

    def schema(self, layer: str) -> str:
        """The schema of a layer of the warehouse (staging, core, marts, marts_served), as dbt names it for the target."""
        return layer if self.is_production else f"{self.target}_{layer}"

    @property
    def public_url(self) -> str:
        """URL that links to the API start with, without a slash at the end. Never taken from a request."""
        return self.local_url if self.public_address is None else self.public_address

    @property
    def local_url(self) -> str:
        """URL of the API for clients on this machine, without a slash at the end."""
        # a server that listens on every address answers on the loopback address
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def intake_port(self) -> int:
        """Port of the intake. If the API has any free port, so has the intake."""
        if self.intake_port_or_none is not None:
            return self.intake_port_or_none
        return self.port + 10 if 0 < self.port <= 65525 else 0

    def for_intake_address(self) -> Settings:
        """The settings of a server that listens where the intake does, and is known by the intake's public URL."""
        port = self.intake_port
        return dataclasses.replace(
            self,
            host=self.intake_host or self.host,
            port=port,
            intake_port_or_none=port,
            metrics_port=self.intake_metrics_port,
            public_address=self.intake_public_address or self.public_address,
        )

    @property
    def public_path(self) -> str:
        """The path of `public_url`, without a slash at the end: '' unless a proxy serves the API below a path."""
        return urlsplit(self.public_url).path

    def __repr__(self) -> str:
        secrets = {field for _, field, env_var in env_vars() if env_var.is_secret}
        shown = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values = (f"{name}='***'" if value and name in secrets else f"{name}={value!r}" for name, value in shown.items())
        return f"Settings({', '.join(values)})"


def default_home() -> Path:
    """The home folder if MAILMART_HOME is not set."""
    return PROJECT_ROOT / ".mailmart"


def embedded_database_url(home: Path) -> str:
    """URL of the embedded PostgreSQL, with its login's password.

    Raises:
        SettingsError: the embedded server was never started for this home folder.
    """
    path = home / "database_url"
    if not path.exists():
        raise SettingsError(
            f"no database: MAILMART_DATABASE_URL is not set, and no embedded server was started in {home}",
            hint="Run `mailmart up`, or set MAILMART_DATABASE_URL. If it was started in another folder, set MAILMART_HOME to it,"
            " here or in .env.",
        )
    return path.read_text().strip()


def env_vars() -> Iterator[tuple[str, str, EnvVar]]:
    """Variable, field and description of every setting that the environment has, in the order of the fields."""
    for field, annotation in _annotations().items():
        for metadata in getattr(annotation, "__metadata__", ()):
            if isinstance(metadata, EnvVar):
                yield PREFIX + (metadata.name or field.upper()), field, metadata


def bounds(field: str) -> tuple[int, int] | None:
    """Lowest and highest value of a setting that is a number."""
    for metadata in getattr(_annotations()[field], "__metadata__", ()):
        if isinstance(metadata, FieldInfo):
            lowest, highest = metadata.metadata
            return lowest.ge, highest.le
    return None


@cache
def _annotations() -> dict[str, Any]:
    return get_type_hints(Settings, include_extras=True)


@cache
def _adapter() -> TypeAdapter[Settings]:
    return TypeAdapter(Settings)


def _settings_error(error: ValidationError) -> SettingsError:
    first = error.errors()[0]
    field = first["loc"][0]
    name, env_var = next((name, env_var) for name, of, env_var in env_vars() if of == field)
    problem = first.get("ctx", {}).get("error")
    if isinstance(problem, InvalidSettingError):
        return SettingsError(f"{name} {problem.problem}", hint=problem.hint)
    between = bounds(str(field))
    hint = f"Set it to a whole number from {between[0]} to {between[1]}." if between else f"{first['msg']}."
    return SettingsError(f"{name} is {'invalid' if env_var.is_secret else _quoted(str(first['input']))}", hint=hint)


def _check_combinations(settings: Settings) -> None:
    if settings.export_bucket and settings.export_folder:
        raise SettingsError("MAILMART_EXPORT_FOLDER and MAILMART_EXPORT_BUCKET are both set", hint="Set one of the two.")
    if not settings.export_bucket and (settings.export_prefix or settings.export_encryption):
        name = "MAILMART_EXPORT_PREFIX" if settings.export_prefix else "MAILMART_EXPORT_ENCRYPTION"
        raise SettingsError(f"{name} is set without a bucket", hint="It applies only to MAILMART_EXPORT_BUCKET: set that too.")
    _check_retention(settings)
    if settings.smtp_url and not settings.mail_from:
        raise SettingsError(
            "MAILMART_SMTP_URL is set without a sender", hint="Set MAILMART_MAIL_FROM to the address that reports come from."
        )


def _check_retention(settings: Settings) -> None:
    payloads, events, messages = settings.retain_payloads, settings.retain_events, settings.retain_messages
    if messages and not events:
        raise SettingsError(
            "MAILMART_RETAIN_MESSAGES is set without MAILMART_RETAIN_EVENTS: the events of a removed message would stay",
            hint="Set MAILMART_RETAIN_EVENTS to as many days, or fewer.",
        )
    if messages and events and events > messages:
        raise SettingsError(
            f"MAILMART_RETAIN_EVENTS ({counted(events, 'day')}) is longer than"
            f" MAILMART_RETAIN_MESSAGES ({counted(messages, 'day')})",
            hint="Keep events for as many days as messages, or fewer.",
        )
    for name, what, days in (("PAYLOADS", "bodies", payloads), ("RAW_EVENTS", "raw rows", settings.retain_raw_events)):
        if days is not None and events and (days == 0 or days > events):
            kept = counted(days, "day") if days else "for ever"
            raise SettingsError(
                f"MAILMART_RETAIN_{name} keeps {what} {kept},"
                f" and MAILMART_RETAIN_EVENTS the events in them for {counted(events, 'day')} only",
                hint=f"Keep {what} for as many days as events, or fewer.",
            )


def _days(value: object) -> int | None:
    """A number of days; 0 for `off`."""
    if value is None or isinstance(value, int):
        return value
    text = str(value).strip().lower()
    if text in ("off", "0"):
        return 0
    number = re.fullmatch(r"0*([1-9][0-9]{0,4})\s*(d|days?)?", text)
    if number is None:
        raise InvalidSettingError(f"is {text!r}", "Set it to a number of days, from 1 to 99999, or to off.")
    return int(number[1])


def _public_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s?#@]+", text) or not urlsplit(text).hostname:
        raise InvalidSettingError(f"is {_quoted(text)}", "Set it to the URL that the API is reached by: https://mail.example.com")
    return text.rstrip("/")


def _https_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("https", "http") or not url.hostname:
        raise InvalidSettingError(f"is {_quoted(text)}", "Set it to a URL: https://…")
    if url.scheme == "http" and url.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise InvalidSettingError("is not https", "Use https. Only addresses of this machine may use http.")
    return text


def _quoted(text: str) -> str:
    """The value in quotes, without the login and password of a URL."""
    return repr(re.sub(r"//[^/]*@", "//***@", text))


def _text_or_file(text: str) -> str:
    if text.lstrip().startswith("-----"):
        return text
    try:
        return Path(text).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettingError(
            f"is not a PEM key, and not a file that can be read: {error}", "Set it to a PEM key or to the path of a PEM file."
        ) from error


def _time_of_day(text: str) -> time:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise InvalidSettingError(f"is {text!r}", "Set it to a time of day in UTC, from 00:00 to 23:59: 02:00.")
    return time.fromisoformat(text)


def _interval(value: object) -> int | None:
    """A number of seconds; None for `off`."""
    if value is None or isinstance(value, int):
        return value
    text = str(value).strip().lower()
    if text in ("off", "0"):
        return None
    interval = re.fullmatch(r"([0-9]{1,6})\s*(s|m|h)", text)
    seconds = int(interval[1]) * {"s": 1, "m": 60, "h": 3600}[interval[2]] if interval else 0
    if not 10 <= seconds <= 86_400:
        raise InvalidSettingError(f"is {text!r}", "Set it to an interval from 10s to 24h: 90s, 5m or 1h; or to off.")
    return seconds


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip() for origin in text.split(",") if origin.strip())
    for origin in origins:
        if not re.fullmatch(r"https?://[^/\s*?#@]+", origin):
            raise InvalidSettingError(f"has an invalid origin: {origin!r}", "An origin looks like https://dashboard.example.com")
    return origins


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return parse_networks(text.split(","))
    except ValueError as error:
        raise InvalidSettingError(f"has an invalid network: {error}", "Write it as 10.1.2.3,192.168.0.0/24.") from error


def _bucket(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:/_-]+", text):
        raise InvalidSettingError(f"is {text!r}", "Set it to the name of a bucket, without s3://.")
    return text


def _prefix(text: str) -> str:
    prefix = text.strip("/")
    if prefix and not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", prefix):
        raise InvalidSettingError(f"is {text!r}", "Set it to names separated by slashes: mailmart/exports")
    return prefix


def _encryption(text: str) -> str | None:
    if text not in ENCRYPTIONS:
        raise InvalidSettingError(f"is {text!r}", f"Use one of {', '.join(ENCRYPTIONS)}.")
    return None if text == "none" else text
