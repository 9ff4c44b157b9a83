"""Ten thousand requests that nobody should send: never a 500, and afterwards the service works as before."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from contract.postgres_server import PostgresServer
from service.running import Running

LEAST = 10_000
RAW = 11_400
A_BATCH = 20
VALID: dict[str, Any] = {"steps": [{"id": "a", "type": "prompt", "inputs": {"template": "x"}}]}
PATHS = (
    "/v1/workflows",
    "/v1/chat/completions",
    "/v1/workflows/3f0f5f6e-0c39-4d0a-9f3e-5d8d2a5b6c7d/cancel",
    "/v1/workflows/3f0f5f6e-0c39-4d0a-9f3e-5d8d2a5b6c7d/retry",
)
FEW = hypothesis.settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Tally:
    """What was sent and answered."""

    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def count(self, status: int, what: object) -> None:
        self.requests += 1
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status >= 500 and status != 503:
            self.faults.append(f"{status}: {what!r}"[:2000])


@pytest.fixture(scope="module")
def service(postgres: PostgresServer) -> Iterator[str]:
    with Running(postgres) as url:
        yield url


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A valid workflow or chat with some of its values replaced, as bytes."""
    text = json.dumps(
        VALID | draw(st.dictionaries(st.sampled_from(["deadline_seconds", "messages", "stream"]), json_values))
    )
    body = json.loads(text)
    step = body["steps"][0]
    for name in draw(st.lists(st.sampled_from(["id", "type", "inputs", "depends_on", "other"]), max_size=3)):
        step[name] = draw(
            json_values | st.sampled_from([["a"], "map", "merge", "generate", {"items": [1], "step": {}}])
        )
    if draw(st.booleans()):
        body["steps"] = body["steps"] * draw(st.integers(0, 70))
    return json.dumps(body).encode()


bodies = mutations() | st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())
headers = st.dictionaries(
    st.sampled_from(["Prefer", "Idempotency-Key", "Cache-Control", "Content-Type", "Last-Event-ID", "Accept-Encoding"]),
    st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30).map(str.strip)
    | st.sampled_from(["wait=0", "wait=1", "wait=x", "wait=99999999999", "no-store", "application/json"]),
    max_size=3,
)
raw_requests = st.tuples(st.sampled_from(PATHS), bodies, headers)


def test_ten_thousand_malformed_requests_and_no_fault(service: str) -> None:
    tally = Tally()
    described(service, tally)
    raw(service, tally)
    assert tally.faults == []
    refused = sum(count for status, count in tally.statuses.items() if 400 <= status < 500)
    assert refused >= LEAST, tally.statuses
    assert {400, 404, 422} <= tally.statuses.keys(), "malformed requests were recognised as such"
    answer = requests.post(f"{service}/v1/workflows", json=VALID, headers={"Prefer": "wait=30"}, timeout=60)
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")


def described(service: str, tally: Tally) -> None:
    """Requests made from the API's own description, good and bad ones; answers must be as described."""
    schema = schemathesis.openapi.from_url(f"{service}/openapi.json")
    session = requests.Session()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), "an operation whose description is not valid"
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                strategy = operation.as_strategy(generation_mode=mode)
            except schemathesis.errors.SchemathesisError:
                continue  # an operation without parameters has no bad form

            @hypothesis.settings(FEW, max_examples=40)
            @given(strategy)
            def send(case: schemathesis.Case[Any]) -> None:
                if case.operation.path.endswith("/events"):
                    return  # a stream ends when its workflow does; the raw requests cover its parameters
                response = case.call(session=session, timeout=60)
                tally.count(response.status_code, case.as_curl_command())
                case.validate_response(
                    response,
                    checks=[
                        not_a_server_error_but_busy,
                        status_code_conformance,
                        content_type_conformance,
                        response_schema_conformance,
                    ],
                )

            with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing in it can be wrong
                send()


def not_a_server_error_but_busy(ctx: object, response: schemathesis.Response, case: schemathesis.Case[Any]) -> None:
    """503 and 504 say that there is too much to do, which is no fault."""
    if response.status_code not in {502, 503, 504}:
        not_a_server_error(ctx, response, case)  # type: ignore[arg-type]


def raw(service: str, tally: Tally) -> None:
    """Bytes that no schema would make."""
    where = urlsplit(service).netloc

    @hypothesis.settings(FEW, max_examples=RAW // A_BATCH)
    @given(st.lists(raw_requests, min_size=A_BATCH, max_size=A_BATCH))
    def send(batch: list[tuple[str, bytes, dict[str, str]]]) -> None:
        with closing(http.client.HTTPConnection(where, timeout=60)) as connection:
            for path, body, chosen in batch:
                connection.request("POST", path, body=body, headers=chosen)
                answer = connection.getresponse()
                answer.read()
                tally.count(answer.status, (path, body, chosen))

    send()
