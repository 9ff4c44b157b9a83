"""Writes of many callers as one statement."""

from hypothesis import given
from hypothesis import strategies as st

from generation_service.adapters.postgres.writes import (
    LONGEST_PAYLOAD,
    Notes,
    Write,
    WriteBatch,
    encoded_change,
    encoded_ending,
    payloads,
)
from generation_service.domain.workflow import Ending, Status, Step, StepChange, Workflow
from generation_service.ports import Claim

ATTEMPTS = st.tuples(st.sampled_from("uvw"), st.integers(1, 3))
CHANGES = st.builds(
    StepChange, st.sampled_from("abc"), st.sampled_from([Status.RUNNING, Status.SUCCEEDED]), st.integers(1, 3)
)


def make_claim(workflow_id: str, attempt: int = 1) -> Claim:
    workflow = Workflow(workflow_id, (Step("a", "prompt", {}),), 30.0)
    return Claim(workflow, attempt, {}, {}, remaining_seconds=1.0, queued_seconds=0.0, cancel_requested=False)


@given(st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8"), min_size=1, max_size=2000), max_size=50))
def test_every_id_is_told_in_notices_that_fit(ids: list[str]) -> None:
    told = list(payloads(ids))
    assert [one for payload in told for one in payload.split("\n")] == list(dict.fromkeys(ids))
    assert all(len(payload.encode()) < max(LONGEST_PAYLOAD, 8001) for payload in told)


@given(st.lists(st.tuples(ATTEMPTS, st.lists(CHANGES, max_size=4), st.booleans()), min_size=1, max_size=20))
def test_events_of_an_attempt_are_numbered_without_gaps_and_each_step_is_written_once(
    writes: list[tuple[tuple[str, int], list[StepChange], bool]],
) -> None:
    ending = encoded_ending(Ending(Status.SUCCEEDED))
    batch = WriteBatch(
        [
            Write(workflow_id, attempt, tuple(map(encoded_change, changes)), ending if ends else None)
            for (workflow_id, attempt), changes, ends in writes
        ]
    )
    ids, attempts, counts, *_ = batch.arguments()
    _, _, _, _, _, step_rows, steps, *_ = batch.arguments()
    event_rows, numbers = batch.arguments()[11:13]
    assert list(batch.positions) == list(zip(ids, attempts, strict=True))
    assert len(set(zip(step_rows, steps, strict=True))) == len(steps)
    for position, count in enumerate(counts, 1):
        own = [number for row, number in zip(event_rows, numbers, strict=True) if row == position]
        assert own == list(range(1, count + 1))


def test_notes_wait_for_their_own_attempt_only() -> None:
    notes = Notes()
    notes.add(make_claim("u", 1), StepChange("a", Status.RUNNING, 1))
    assert notes.take(make_claim("u", 2)) == ()
    assert [note.step_id for note in notes.take(make_claim("u", 1))] == ["a"]
    assert notes.take(make_claim("u", 1)) == ()


def test_notes_of_abandoned_claims_do_not_pile_up() -> None:
    notes = Notes(limit=2)
    for number in range(3):
        notes.add(make_claim(f"w{number}"), StepChange("a", Status.RUNNING, 1))
    assert [len(notes.take(make_claim(f"w{number}"))) for number in range(3)] == [0, 1, 1]
