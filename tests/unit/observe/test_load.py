"""Adding up what pods say, exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_operator.observe.load import Answer, Fleet, PodLoad, parse_load


def text(in_flight: object = 3, queued: object = 2, arrived: object = 40) -> bytes:
    return (
        f"# HELP x\ngeneration_service_load_in_flight {in_flight}\n"
        f"generation_service_load_queued {queued}\ngeneration_service_load_arrived_total {arrived}\n"
    ).encode()


def said(in_flight: float, arrived: float, at: float, queued: float = 0.0) -> Answer:
    return Answer(PodLoad(in_flight, queued, arrived), at)


def test_three_numbers_are_read() -> None:
    assert parse_load(text()) == PodLoad(3.0, 2.0, 40.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>404</html>",
        text("NaN"),
        text("-1"),
        text("+Inf"),
        text("1e300"),
        text("three"),
        text(arrived=""),
        b"generation_service_load_in_flight 1\ngeneration_service_load_queued 1\n",
    ],
)
def test_what_can_be_no_count_is_no_answer(answer: bytes) -> None:
    assert parse_load(answer) is None


@given(st.binary(max_size=200))
def test_no_answer_is_an_error(answer: bytes) -> None:
    assert parse_load(answer) is None


def test_pods_are_added_up_and_the_rate_comes_from_two_samples() -> None:
    fleet = Fleet()
    first = fleet.add_up({"a": said(3, 100, 10.0, 1), "b": said(5, 200, 10.0)}, ["a", "b"], 2, 10.1)
    assert (first.in_flight, first.queued, first.arrivals) == (8.0, 1.0, None)
    second = fleet.add_up({"a": said(3, 110, 12.0), "b": said(5, 230, 12.0)}, ["a", "b"], 2, 12.1)
    assert second.arrivals == 20.0
    assert (second.at, second.expected, second.answered) == (12.0, 2, 2)


def test_a_pod_that_does_not_answer_is_taken_to_be_like_the_others() -> None:
    load = Fleet().add_up({"a": said(6, 0, 10.0)}, ["a", "b"], 2, 10.0)
    assert (load.in_flight, load.expected, load.answered) == (12.0, 2, 1)


def test_nobody_answering_is_not_idle_but_unknown() -> None:
    load = Fleet().add_up({}, ["a", "b"], 2, 10.0)
    assert (load.answered, load.expected, load.at) == (0, 2, 10.0)


def test_a_counter_that_fell_began_again() -> None:
    fleet = Fleet()
    fleet.add_up({"a": said(1, 1_000, 10.0)}, ["a"], 1, 10.0)
    assert fleet.add_up({"a": said(1, 6, 12.0)}, ["a"], 1, 12.0).arrivals == 3.0


@pytest.mark.parametrize(("later", "rate"), [(10.2, None), (10.5, 20.0), (70.0, 1 / 6), (70.5, None)])
def test_samples_too_close_or_too_far_apart_give_no_rate(later: float, rate: float | None) -> None:
    fleet = Fleet()
    fleet.add_up({"a": said(1, 0, 10.0)}, ["a"], 1, 10.0)
    assert fleet.add_up({"a": said(1, 10, later)}, ["a"], 1, later).arrivals == pytest.approx(rate)


def test_a_new_pod_counts_with_the_rate_of_the_others() -> None:
    fleet = Fleet()
    fleet.add_up({"a": said(1, 0, 10.0)}, ["a"], 1, 10.0)
    assert fleet.add_up({"a": said(1, 8, 12.0), "b": said(0, 0, 12.0)}, ["a", "b"], 2, 12.0).arrivals == 8.0


def test_what_each_pod_has_to_do_is_remembered_until_it_is_gone() -> None:
    fleet = Fleet()
    fleet.add_up({"a": said(1, 0, 10.0, 2), "b": said(4, 0, 10.0)}, ["a", "b"], 2, 10.0)
    assert fleet.busy() == {"a": 3.0, "b": 4.0}
    fleet.add_up({"a": said(1, 0, 12.0)}, ["a"], 1, 12.0)
    assert fleet.busy() == {"a": 1.0}


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e9)), min_size=1, max_size=20),
    st.integers(0, 5),
)
def test_the_sum_is_never_less_than_what_was_said(pods: list[tuple[float, float, float]], silent: int) -> None:
    answers = {str(number): said(pod[0], pod[2], 1.0, pod[1]) for number, pod in enumerate(pods)}
    ready = [*answers, *(f"silent-{number}" for number in range(silent))]
    load = Fleet().add_up(answers, ready, len(ready), 1.0)
    assert load.in_flight >= sum(pod[0] for pod in pods) * (1 - 1e-12)
    assert load.queued >= sum(pod[1] for pod in pods) * (1 - 1e-12)
