"""Texts with gaps that outputs of earlier steps fill, written by people we do not know.

A template sees JSON and nothing else: no attribute of a Python object is ever looked up, there are no calls, no loops
and no arithmetic, so the cost of rendering grows with the length of the template and of what it inserts, never faster.
Both are bounded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson
from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, nodes
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from generation_service.domain.workflow import Json, JsonObject
from generation_service.ports import Scope, StepError

LONGEST_TEMPLATE: Final = 32_768
LONGEST_RESULT: Final = 262_144
MOST_EXPRESSIONS: Final = 256
FILTERS: Final = ("default", "first", "int", "join", "last", "length", "lower", "string", "tojson", "trim", "upper")

_TOO_DEEP: Final = "is nested too deeply; split the step"
_ALLOWED: Final = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Const,
    nodes.Filter, nodes.Keyword, nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
)  # fmt: skip


class TemplateRefusedError(Exception):
    """The template cannot be used; the message says why."""


class _Environment(ImmutableSandboxedEnvironment):
    """Looks into JSON only: `a.items` is the key `items`, never the method of a dict."""

    def getattr(self, obj: object, attribute: str) -> object:
        return self.getitem(obj, attribute)

    def getitem(self, obj: object, argument: object) -> object:
        if isinstance(obj, Mapping) and argument in obj:
            return obj[argument]
        if isinstance(obj, Sequence) and not isinstance(obj, str) and isinstance(argument, int):
            return obj[argument] if -len(obj) <= argument < len(obj) else self._missing(argument)
        return self._missing(argument)

    def is_safe_callable(self, obj: object) -> bool:
        return False

    def _missing(self, name: object) -> Undefined:
        return self.undefined(hint=f"there is no {str(name)[:80]!r} in what the template refers to")


def check(template: str, scope: Scope) -> None:
    """Refuse a template that cannot work. Raises `TemplateRefusedError`."""
    if len(template) > LONGEST_TEMPLATE:
        raise TemplateRefusedError(f"is longer than {LONGEST_TEMPLATE} characters; shorten it")
    try:
        tree = _ENVIRONMENT.parse(template)
    except TemplateSyntaxError as error:
        raise TemplateRefusedError(f"is not a valid template: {error.message} (line {error.lineno})") from None
    except (RecursionError, ValueError):  # also numbers of thousands of digits
        raise TemplateRefusedError(_TOO_DEEP) from None
    expressions = 0
    for node in _walk(tree):
        expressions += isinstance(node, nodes.Expr) and not isinstance(node, nodes.TemplateData | nodes.Const)
        if not isinstance(node, _ALLOWED):
            raise TemplateRefusedError(
                f"uses {type(node).__name__}, which templates here do not have; insert outputs with "
                "{{ steps.ID.output.text }}, choose with {% if %} and fan out with a step of type map"
            )
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise TemplateRefusedError(f"uses the filter {node.name!r}; there are {', '.join(FILTERS)}")
        _check_names(node, scope)
    if expressions > MOST_EXPRESSIONS:
        raise TemplateRefusedError(f"has more than {MOST_EXPRESSIONS} expressions; split the step")
    try:
        _compiled(template)
    except (SyntaxError, RecursionError, MemoryError):
        raise TemplateRefusedError(_TOO_DEEP) from None


def render(template: str, outputs: Mapping[str, Json], variables: JsonObject) -> str:
    """Fill the gaps. Raises `StepError` when a value is missing or the result is too long."""
    values: dict[str, object] = {**variables, "steps": {key: {"output": value} for key, value in outputs.items()}}
    parts: list[str] = []
    length = 0
    try:
        for part in _compiled(template).generate(values):
            length += len(part)
            if length > LONGEST_RESULT:
                raise StepError(f"the template's result is longer than {LONGEST_RESULT} characters")
            parts.append(part)
    except TemplateError as error:
        raise StepError(f"the template cannot be filled: {error.message or type(error).__name__}") from None
    except (TypeError, ValueError, OverflowError) as error:  # a filter got what it cannot work with
        raise StepError(f"the template cannot be filled: {error}") from None
    return "".join(parts)


def _check_names(node: nodes.Node, scope: Scope) -> None:
    if isinstance(node, nodes.Name) and node.name != "steps" and node.name not in scope.variables:
        known = ", ".join(["steps", *sorted(scope.variables)])
        raise TemplateRefusedError(f"uses the name {node.name!r}; known here: {known}")
    step_id = _step_referred_to(node)
    if step_id is not None and step_id not in scope.steps:
        raise TemplateRefusedError(
            f"refers to the step {step_id!r}, which is not done before this one; add it to depends_on"
        )


def _step_referred_to(node: nodes.Node) -> str | None:
    if not isinstance(node, nodes.Getattr | nodes.Getitem):
        return None
    if not isinstance(node.node, nodes.Name) or node.node.name != "steps":
        return None
    if isinstance(node, nodes.Getattr):
        return node.attr
    return str(node.arg.value) if isinstance(node.arg, nodes.Const) else None


def _walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    waiting: list[nodes.Node] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.iter_child_nodes())


def _text(value: object) -> object:
    """Numbers, lists and objects as JSON: what a model, or the next program, can read."""
    if isinstance(value, str | Undefined | Macro):
        return value
    return _json(value)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _join(values: Iterable[object], separator: str = "", attribute: str | None = None) -> str:
    """As jinja2's, with a bound: a text joined with itself would grow as the square of its length."""
    texts = []
    length = 0
    for value in values:
        chosen = value.get(attribute) if attribute is not None and isinstance(value, Mapping) else value
        texts.append(chosen if isinstance(chosen, str) else _json(chosen))
        length += len(texts[-1]) + len(separator)
        if length > LONGEST_RESULT:
            raise StepError(f"the template's result is longer than {LONGEST_RESULT} characters")
    return separator.join(texts)


def _environment() -> _Environment:
    environment = _Environment(autoescape=False, undefined=StrictUndefined, finalize=_text, cache_size=0)
    kept: dict[str, Callable[..., Any]] = {name: environment.filters[name] for name in FILTERS}
    environment.filters.clear()
    environment.filters.update(kept | {"join": _join, "tojson": _json})
    environment.tests.clear()
    environment.globals.clear()
    return environment


@lru_cache(maxsize=512)
def _compiled(template: str) -> Template:
    return _ENVIRONMENT.from_string(template)


_ENVIRONMENT: Final = _environment()
