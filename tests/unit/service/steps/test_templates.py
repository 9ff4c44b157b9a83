"""Templates of people we do not know: they see outputs and nothing else, and cost little whatever they say."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_service.domain.workflow import Json
from generation_service.ports import Scope, StepError
from generation_service.steps import templates

SCOPE = Scope(frozenset({"a", "step-1"}), frozenset({"item"}))
OUTPUTS: dict[str, Json] = {
    "a": {"text": "hi", "items": [1, 2], "n": 5, "none": None},
    "step-1": {"items": [{"text": "p"}, {"text": "q"}, "r"]},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("Short: {{ steps.a.output.text }}", "Short: hi"),
        ("{{ steps['step-1'].output['items'][0].text }}", "p"),
        ("{{ steps['step-1'].output['items'] | join(', ', 'text') }}", "p, q, r"),
        ("{{ steps.a.output.items }}", "[1,2]"),  # a key, never the method of a dict
        ("{{ steps.a.output }}", '{"text":"hi","items":[1,2],"n":5,"none":null}'),
        ("{% if steps.a.output.n > 3 %}big{% else %}small{% endif %}", "big"),
        ("{{ steps.a.output.nothing | default('x') }}", "x"),
        ("{{ steps.a.output.text | upper | length }} {{ item }}", "2 it"),
    ],
)
def test_gaps_are_filled(template: str, text: str) -> None:
    templates.check(template, SCOPE)
    assert templates.render(template, OUTPUTS, {"item": "it"}) == text


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ steps.b.output }}", "'b', which is not done before"),
        ("{{ steps['b'].output }}", "add it to depends_on"),
        ("{{ index }}", "the name 'index'; known here: steps, item"),
        ("{% for x in steps.a.output['items'] %}{% endfor %}", "uses For"),
        ("{{ range(9) }}", "uses Call"),
        ("{{ 'a' * 999999999 }}", "uses Mul"),
        ("{% set x = 1 %}", "uses Assign"),
        ("{% include 'x' %}", "uses Include"),
        ("{{ steps.a.output.text | replace('h', 'hhhhhhhh') }}", "the filter 'replace'"),
        ("{{ steps.a.output.text | attr('__class__') }}", "the filter 'attr'"),
        ("{{ unclosed", "not a valid template"),
        ("x" * (templates.LONGEST_TEMPLATE + 1), "longer than"),
        ("{{ steps.a.output.n }}" * 100, "more than 256 expressions"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "nested too deeply"),
        ("{{ " + "not " * 3000 + "1 }}", "nested too deeply"),
        ("{% if 1 %}" * 800 + "{% endif %}" * 800, "nested too deeply"),
    ],
)
def test_template_that_cannot_work_is_refused(template: str, said: str) -> None:
    with pytest.raises(templates.TemplateRefusedError, match=said.replace("(", r"\(")):
        templates.check(template, SCOPE)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ steps.__class__ }}",
        "{{ steps.a.output.text.upper }}",
        "{{ steps.a.output.items.append }}",
        "{{ steps.a.output.missing }}",
        "{{ steps.a.output.items[7] }}",
        "{{ steps.a.output.none.x }}",
        "{{ steps.a.output.n | join }}",
        "{{ steps.a.output.text > 3 }}",
        "{{ item.x }}",
    ],
)
def test_what_is_not_there_fails_the_step_and_no_python_object_is_reachable(template: str) -> None:
    try:
        templates.check(template, SCOPE)
    except templates.TemplateRefusedError:
        return
    with pytest.raises(StepError, match="the template cannot be filled"):
        templates.render(template, OUTPUTS, {"item": "it"})


@pytest.mark.parametrize(
    "template",
    ["{{ steps.a.output.text }}" * 3, "{{ steps.a.output.text | join(steps.a.output.text) }}"],
)
def test_result_is_bounded_before_memory_is_used(template: str) -> None:
    # The second one would have 40 GB.
    with pytest.raises(StepError, match="longer than"):
        templates.render(template, {"a": {"text": "x" * 200_000}}, {})


@given(st.text(alphabet="{}%|.'()[]ab _-1<>=~+stepoutxi\n", max_size=60))
def test_whatever_the_template_the_answer_is_a_text_or_a_reason(template: str) -> None:
    with contextlib.suppress(templates.TemplateRefusedError, StepError):  # anything else fails the test
        templates.check(template, SCOPE)
        assert isinstance(templates.render(template, OUTPUTS, {"item": "it"}), str)
