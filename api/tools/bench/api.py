"""The service under load, beside controls in the same run: its own SQL in pgbench, bare WSGI functions, a static Flask route."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from api.auth.api_keys import create_key
from api.contract.exposures import Endpoint
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.control_answers import write_answers
from api.tools.bench.controls import STATIC
from api.tools.bench.load import HOST, Load, Measured, measure
from api.tools.bench.pgbench import measure_sql
from api.tools.bench.questions import Question, ask_each
from api.tools.bench.report import BARE, CACHED, NOT_MODIFIED, SQL, STATIC_BARE, STATIC_FLASK, UNCACHED, Options, Report
from api.tools.bench.running import body_and_etag, control, service
from api.tools.bench.scratch import published, scratch_servers, settle
from api.tools.bench.statements import log_every_statement, log_length, log_no_statement, transactions_since
from api.tools.demo.build import build
from api.tools.synthetic.generate import GenerateOptions, generate

# whose body the static routes return
STATIC_OF = "campaign_analytics"
WARM_UP_SHARE = 0.25
MAX_WARM_UP = 1.0
SECONDS_TO_BE_LOGGED = 10


@dataclass(frozen=True)
class _Subject:
    """One thing to measure: of an endpoint ('' for a static route), under a name, at a number of connections."""

    endpoint: str
    kind: str
    measure: Callable[[int], Measured]


def bench_api(settings: Settings, options: Options, say: Callable[[str], None]) -> Report:
    """Measures on servers of its own, and removes them.

    Raises:
        MailmartError: the build fails, an answer is wrong, or a control's is not the service's.
    """
    with scratch_servers(dataclasses.replace(settings, host=HOST)) as scratch, ExitStack() as stack:
        say(f"making {options.messages:,} messages")
        generate(scratch, GenerateOptions(workspaces=1, campaigns=15, messages=options.messages, days=options.days))
        say("dbt build")
        build(scratch)
        settle(scratch)
        publication = published(scratch)
        endpoints = publication.contract.endpoints
        names = _chosen(endpoints, options.endpoints)
        workspace, questions = ask_each(scratch, endpoints)
        key = create_key(scratch, workspace, name="bench")

        say("comparing the controls' answers with the service's")
        ports = {UNCACHED: stack.enter_context(service(scratch, UNCACHED, options.workers, is_cached=False))}
        bodies = {question.endpoint.name: body_and_etag(ports[UNCACHED], question, key)[0] for question in questions}
        transactions = _transactions(scratch, ports[UNCACHED], questions, key)
        write_answers(
            scratch, transactions, questions, publication.data_as_of, bodies.get(STATIC_OF) or max(bodies.values(), key=len)
        )
        ports[BARE] = stack.enter_context(control(scratch, "bare", options.workers))
        ports[STATIC_FLASK] = stack.enter_context(control(scratch, "flask", options.workers))
        ports[CACHED] = stack.enter_context(service(scratch, CACHED, options.workers, is_cached=True))
        etags = {}
        for question in questions:
            name = question.endpoint.name
            _same(question, BARE, bodies[name], body_and_etag(ports[BARE], question, key)[0])
            body, etags[name] = body_and_etag(ports[CACHED], question, key)
            _same(question, CACHED, bodies[name], body)

        questions = [question for question in questions if question.endpoint.name in names]
        subjects = _subjects(scratch, options, questions, key, ports, etags, transactions)
        return Report(
            endpoints=names,
            body_bytes={name: len(body.encode()) for name, body in bodies.items()},
            without_etag=tuple(
                question.endpoint.name for question in questions if question.method == "GET" and not etags[question.endpoint.name]
            ),
            rounds=_rounds(options, subjects, say),
        )


def _chosen(endpoints: Sequence[Endpoint], names: Sequence[str]) -> tuple[str, ...]:
    there_are = tuple(endpoint.name for endpoint in endpoints)
    unknown = sorted(set(names) - set(there_are))
    if unknown:
        raise MailmartError(f"no such endpoint: {', '.join(unknown)}", hint=f"There are {', '.join(there_are)}.")
    return tuple(name for name in there_are if not names or name in names)


def _transactions(scratch: Settings, port: int, questions: Sequence[Question], key: str) -> dict[str, str]:
    """What the service sends for each request, word by word as it reached the server, by the endpoints' names.

    Raises:
        MailmartError: it is not in the server's log.
    """
    found = {}
    log_every_statement(scratch)
    try:
        for question in questions:
            deadline = time.monotonic() + SECONDS_TO_BE_LOGGED
            sent: list[str] = []
            # a session takes a new setting in its own time
            while not sent:
                if time.monotonic() > deadline:
                    raise MailmartError(f"the transaction of {question.endpoint.name} is not in the server's log")
                since = log_length(scratch)
                body_and_etag(port, question, key)
                time.sleep(0.05)
                sent = transactions_since(scratch, since)
            found[question.endpoint.name] = sent[-1]
    finally:
        log_no_statement(scratch)
    return found


def _same(question: Question, kind: str, ours: str, theirs: str) -> None:
    """A control is one only if it answers the same.

    Raises:
        MailmartError: it does not.
    """
    expected, found = (json.loads(text)["data"] for text in (ours, theirs))
    if expected != found:
        differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        raise MailmartError(f"{question.endpoint.name}: the answer of {kind} differs in {', '.join(differing)}")


def _subjects(
    scratch: Settings,
    options: Options,
    questions: Sequence[Question],
    key: str,
    ports: Mapping[str, int],
    etags: Mapping[str, str],
    transactions: Mapping[str, str],
) -> list[_Subject]:
    """In the order in which they are measured: each beside its control."""
    warm_up = min(options.seconds * WARM_UP_SHARE, MAX_WARM_UP)

    def load(port: int, request: str, status: int = 200) -> Callable[[int], Measured]:
        return lambda connections: measure(Load(port, request, status, connections, options.seconds, warm_up))

    def sql(transaction: str) -> Callable[[int], Measured]:
        return lambda connections: measure_sql(scratch, transaction, connections, options.seconds, warm_up)

    subjects = []
    for question in questions:
        name, request = question.endpoint.name, question.request(key)
        subjects += [
            _Subject(name, UNCACHED, load(ports[UNCACHED], request)),
            _Subject(name, BARE, load(ports[BARE], request)),
            _Subject(name, SQL, sql(transactions[name])),
            _Subject(name, CACHED, load(ports[CACHED], request)),
        ]
        if question.method == "GET" and etags[name]:
            subjects.append(_Subject(name, NOT_MODIFIED, load(ports[CACHED], question.request(key, etags[name]), 304)))
    static = f"GET {STATIC} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    subjects += [
        _Subject("", STATIC_FLASK, load(ports[STATIC_FLASK], static)),
        _Subject("", STATIC_BARE, load(ports[BARE], static)),
    ]
    return subjects


def _rounds(
    options: Options, subjects: Sequence[_Subject], say: Callable[[str], None]
) -> dict[tuple[str, str, int], list[Measured]]:
    # one after the other, again and again: what else the machine does meets all of them
    found: dict[tuple[str, str, int], list[Measured]] = defaultdict(list)
    for connections in options.connections:
        for number in range(options.rounds):
            say(f"{connections} connections, round {number + 1} of {options.rounds}")
            for subject in subjects:
                found[subject.endpoint, subject.kind, connections].append(subject.measure(connections))
    return dict(found)
