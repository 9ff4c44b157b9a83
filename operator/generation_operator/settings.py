"""What can be set about the operator as a process: environment variables, each with unit, default and trade-off.

Everything about one service is in its resource. Only `__main__` reads the environment; this module is given a mapping.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_type_hints
from urllib.parse import urlsplit

PREFIX: Final = "GENERATION_OPERATOR_"

E = TypeVar("E", bound=StrEnum)


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "Debug"
    INFO = "Info"
    WARNING = "Warning"
    ERROR = "Error"


class LogFormat(StrEnum):
    """How a log record is written."""

    TEXT = "Text"
    JSON = "Json"


class DecisionLogging(StrEnum):
    """Which decisions are logged."""

    OFF = "Off"
    CHANGES = "Changes"


@dataclass(frozen=True, slots=True)
class Variable:
    """How a field is read from the environment."""

    parse: Callable[[str], object]  # raises ValueError with what is allowed
    default: str
    about: str  # meaning with unit, and what speaks for less or more


class SettingsError(ValueError):
    """A variable has a value that cannot be used; the message names it and says what can."""


def _number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        expected = f"a number from {least:g} to {most:g}"
        try:
            number = float(text)
        except ValueError:
            raise ValueError(expected) from None
        if not least <= number <= most:  # also refuses NaN
            raise ValueError(expected)
        return number

    return parse


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return parse


def _choice(choices: type[E]) -> Callable[[str], E]:
    names = {choice.casefold(): choice for choice in choices}

    def parse(text: str) -> E:
        if text.casefold() not in names:
            raise ValueError(f"one of {', '.join(choices)}")
        return names[text.casefold()]

    return parse


def _url(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that cannot be
        valid = False
    if text and not valid:
        raise ValueError("an http or https URL, for example http://prometheus.monitoring:9090")
    return text.rstrip("/") or None


def _namespaces(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
            raise ValueError(f"names of namespaces with commas between them; {name!r} is none")
    return names


def _namespace(text: str) -> str:
    names = _namespaces(text)
    if len(names) > 1:
        raise ValueError("the name of one namespace")
    return "".join(names)


def _domain(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", text):
        raise ValueError("a DNS domain, for example cluster.local")
    return text


def _path(text: str) -> Path | None:
    return Path(text) if text else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings; the name of a field in capitals behind the prefix is its variable."""

    prometheus_url: Annotated[
        str | None,
        Variable(
            _url,
            "",
            "Base URL of the Prometheus for resources that name none in spec.metrics.prometheusURL. Empty: such "
            "resources have no metrics and keep their replicas.",
        ),
    ]
    watch_namespaces: Annotated[
        tuple[str, ...],
        Variable(
            _namespaces,
            "",
            "Namespaces to watch, with commas between them. Empty: all, which needs cluster-wide rights. Named ones "
            "need rights there only, but what an API that is installed later brings is then seen by resyncs only.",
        ),
    ]
    tick_seconds: Annotated[
        float,
        Variable(
            _number(0.1, 300),
            "5",
            "Seconds between two reads of all signals from Prometheus, and at most from one decision on a service to "
            "the next; up to twice that where a read takes more than a fifth of it. Shorter asks Prometheus more "
            "often; a new load is seen sooner all the same, see NEWS_SECONDS.",
        ),
    ]
    news_seconds: Annotated[
        float,
        Variable(
            _number(0.1, 300),
            "0.5",
            "Seconds between two looks at what is new: one query for the load of services that Prometheus has scraped "
            "since, and what pods have answered; those are decided on at once. Longer spares Prometheus and reacts "
            "that much later. It is never longer than LOAD_SECONDS and TICK_SECONDS.",
        ),
    ]
    load_seconds: Annotated[
        float,
        Variable(
            _number(0.1, 300),
            "2",
            "Seconds between two rounds in which the pods are asked for their load. Shorter reacts sooner and costs "
            "more; it is never longer than TICK_SECONDS.",
        ),
    ]
    load_requests_per_second: Annotated[
        int,
        Variable(
            _whole(10, 100_000),
            "500",
            "Pods that are asked for their load each second, of all services together. With more pods than that, "
            "services take turns, and wait longer for theirs. 500 cost about a sixth of a core.",
        ),
    ]
    resync_seconds: Annotated[
        float,
        Variable(
            _number(1, 86400),
            "300",
            "Seconds between two comparisons with all objects of the cluster. Shorter heals a missed event sooner and "
            "costs the API server more.",
        ),
    ]
    manual_override_seconds: Annotated[
        float,
        Variable(
            _number(0, 86400),
            "1800",
            "Seconds for which a replica count that somebody wrote to a Deployment by hand is kept. 0: such counts are "
            "corrected at once. Longer leaves people more time, and a forgotten count more time to do harm.",
        ),
    ]
    cluster_domain: Annotated[
        str,
        Variable(
            _domain,
            "cluster.local",
            "DNS domain of the cluster, in which the proxy resolves pods. A wrong one leaves the proxy without pods.",
        ),
    ]
    probe_port: Annotated[
        int,
        Variable(
            _whole(0, 65535),
            "8080",
            "TCP port of /healthz, /readyz and /metrics. 0: any free one, so that nobody finds them.",
        ),
    ]
    lease_namespace: Annotated[
        str,
        Variable(
            _namespace,
            "",
            "Namespace of the Lease with which several operators elect the one that writes. Empty: no election, so "
            "there must be no other operator for these namespaces.",
        ),
    ]
    api_requests_per_second: Annotated[
        int,
        Variable(
            _whole(1, 10_000),
            "200",
            "Requests to the API server, watches apart. Fewer spare it when thousands of resources change at once, and "
            "take longer to catch up.",
        ),
    ]
    decision_log: Annotated[
        DecisionLogging,
        Variable(
            _choice(DecisionLogging),
            "Changes",
            "Off, or Changes: a line of JSON on standard output for each decision that brought something new.",
        ),
    ]
    log_level: Annotated[
        LogLevel,
        Variable(
            _choice(LogLevel), "Info", "Debug, Info, Warning or Error. Debug has a line for every object that is seen."
        ),
    ]
    log_format: Annotated[
        LogFormat, Variable(_choice(LogFormat), "Text", "Text for people, Json (one object per line) for log stores.")
    ]
    workers: Annotated[
        int,
        Variable(
            _whole(1, 64),
            "4",
            "Resources that are reconciled at the same time. More catches up sooner after a start and asks more of the "
            "API server at once.",
        ),
    ]
    kubeconfig: Annotated[
        Path | None,
        Variable(
            _path,
            "",
            "Path of a kubeconfig, for an operator outside the cluster. Empty: the pod's service account; a kubeconfig "
            "that is not named here is never used.",
        ),
    ]


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from environment variables; an empty variable counts as absent.

    Variables with our prefix that are no settings are ignored: Kubernetes itself makes such ones for a Service of the
    operator's name (`GENERATION_OPERATOR_SERVICE_HOST`).

    Raises:
        SettingsError: a value cannot be used.
    """
    values: dict[str, Any] = {}
    for field, variable in _variables().items():
        text = environment.get(name_of(field), "").strip() or variable.default
        try:
            values[field] = variable.parse(text)
        except ValueError as error:
            raise SettingsError(f"{name_of(field)} is {text!r}, but must be {error}") from None
    return Settings(**values)


def name_of(field: str) -> str:
    """`tick_seconds` -> `GENERATION_OPERATOR_TICK_SECONDS`."""
    return PREFIX + field.upper()


def table() -> list[tuple[str, str, str]]:
    """Name, default and meaning of every variable."""
    return [(name_of(field), variable.default, variable.about) for field, variable in _variables().items()]


def _variables() -> dict[str, Variable]:
    hints = get_type_hints(Settings, include_extras=True)
    return {field: hint.__metadata__[0] for field, hint in hints.items()}
