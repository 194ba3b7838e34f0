"""Forty questions over a seeded warehouse: a tool answers each, with the number that is counted from the raw events."""

from __future__ import annotations

import json

import pytest

from api.mcp.answers import MAX_CHARACTERS
from tests.integration.mcp.agent import Agent
from tests.integration.mcp.oracle import Oracle
from tests.integration.mcp.questions import QUESTIONS


def test_there_are_forty() -> None:
    assert len({question.text for question in QUESTIONS}) == len(QUESTIONS) >= 40


@pytest.mark.parametrize("number", range(len(QUESTIONS)), ids=lambda number: QUESTIONS[number].text.rstrip("?").replace(" ", "-"))
def test_a_call_answers_a_question(agent: Agent, oracle: Oracle, number: int) -> None:
    question = QUESTIONS[number]
    is_error, text = agent.call(question.tool, **question.arguments)
    assert not is_error, text
    assert len(text) <= MAX_CHARACTERS
    answer = json.loads(text)
    assert question.found(answer) == question.expected(oracle), text
    assert question.tool == "list_metrics" or answer["definitions"]
