"""A workflow that exists is a graph that can be run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_service.domain.errors import InvalidWorkflowError
from generation_service.domain.workflow import Step, Workflow


def workflow(**needs: tuple[str, ...]) -> Workflow:
    return Workflow("w", tuple(Step(name, "prompt", {}, depends_on) for name, depends_on in needs.items()), 30)


def test_ancestors_are_all_steps_that_are_done_before() -> None:
    diamond = workflow(a=(), b=("a",), c=("a",), d=("b", "c"), e=())
    assert diamond.ancestors("d") == {"a", "b", "c"}
    assert diamond.ancestors("a") == frozenset()


@pytest.mark.parametrize(
    ("needs", "field", "said"),
    [
        ({"a": ("b",)}, "steps[0].depends_on[0]", "'b' is not the id of a step"),
        ({"a": (), "b": ("a", "nobody")}, "steps[1].depends_on[1]", "'nobody'"),
        ({"a": ("a",)}, "steps[0].depends_on", "wait for each other"),
        ({"x": (), "a": ("b",), "b": ("a",)}, "steps[1].depends_on", "a, b wait for each other"),
        ({"a": ("c",), "b": ("a",), "c": ("b",), "d": ("c",)}, "steps[0].depends_on", "a, b, c, d"),
    ],
)
def test_graph_that_cannot_be_run_is_refused_with_the_field(
    needs: dict[str, tuple[str, ...]], field: str, said: str
) -> None:
    with pytest.raises(InvalidWorkflowError) as caught:
        workflow(**needs)
    assert caught.value.field == field
    assert said in caught.value.message


def test_ids_are_unique() -> None:
    with pytest.raises(InvalidWorkflowError) as caught:
        Workflow("w", (Step("a", "prompt", {}), Step("a", "prompt", {})), 30)
    assert caught.value.field == "steps[1].id"


@given(st.lists(st.lists(st.integers(0, 8), max_size=4), min_size=1, max_size=9))
def test_graph_is_accepted_exactly_when_its_steps_can_be_put_in_order(needs: list[list[int]]) -> None:
    count = len(needs)
    edges = {index: {needed for needed in wanted if needed < count} for index, wanted in enumerate(needs)}

    def reaches_itself(start: int) -> bool:
        seen: set[int] = set()
        waiting = list(edges[start])
        while waiting:
            node = waiting.pop()
            if node == start:
                return True
            if node not in seen:
                seen.add(node)
                waiting.extend(edges[node])
        return False

    steps = tuple(
        Step(str(index), "prompt", {}, tuple(str(needed) for needed in sorted(edges[index]))) for index in range(count)
    )
    if any(reaches_itself(index) for index in range(count)):
        with pytest.raises(InvalidWorkflowError):
            Workflow("w", steps, 30)
    else:
        assert Workflow("w", steps, 30).steps == steps
