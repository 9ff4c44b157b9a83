"""The report: complete, self-contained, bounded, and safe whatever names say."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from generation_operator.simulate.courses import MOST_NOTES, MOST_POINTS
from generation_operator.simulate.outcome import Outcome
from generation_operator.simulate.report import render
from generation_operator.simulate.result import Note
from simulation.outcome_world import START, WHATEVER, make_outcome, said

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\"'&{{data}}\u2028"


class Page(HTMLParser):
    """What a browser would make of it: elements, texts, attributes that load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.data = ""
        self._in: list[str] = []
        self._is_data = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self._is_data = ("id", "data") in attrs
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "action", "srcset"}]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        if self._is_data:
            self.data += data
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._is_data = False


def data_of(outcome: Outcome) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Page(render(outcome)).data)
    return read


def test_it_says_everything_that_it_must() -> None:
    page = Page(render(make_outcome()))
    for text in ("On your traffic, Targets misses", "shop.csv", "It was made up.", "2 seeds", "4 slots per replica"):
        assert text in page.text
    for name in ("Targets", "Score", "KPA"):
        assert name in page.text


def test_it_says_when_comparisons_rest_on_fewer_seeds() -> None:
    fewer, all_seeds = (Page(render(make_outcome(seeds=2, sweep_seeds=seeds))).text for seeds in (1, 2))
    assert "2 seeds, 1 of them for comparisons at equal cost" in fewer
    assert "of them" not in all_seeds


def test_the_table_has_a_row_per_policy_with_cost_and_misses() -> None:
    outcome = make_outcome()
    rows = re.findall(r'<tr><th scope="row"[^>]*>(.*?)</tr>', render(outcome))
    settings = sum(len(series.sweep) for series in outcome.series)
    assert len(rows) == len(outcome.series) + settings
    cells = re.findall("<td>(.*?)</td>", rows[0])
    headline = outcome.series[0].headline
    assert cells[1].startswith(f"{headline.pod_hours.mean:.2f} ± ")
    assert cells[2].endswith(" %")
    assert len(cells) == 13


def test_it_needs_nothing_else() -> None:
    page = Page(render(make_outcome()))
    assert page.loads == ["data:,"]
    assert page.handlers == []
    assert "url(" not in render(make_outcome())
    assert "@import" not in render(make_outcome())


@pytest.mark.parametrize("where", ["trace", "note", "reason", "line"])
def test_hostile_names_stay_text(where: str) -> None:
    outcome = make_outcome()
    ordinary = Page(render(outcome))
    note = Note(
        100.0, 3, HOSTILE if where == "reason" else "HighLoad", (HOSTILE if where == "line" else "Demand: 1 -> 3",)
    )
    outcome = said(outcome, note)
    if where == "trace":
        outcome = replace(outcome, trace=HOSTILE)
    if where == "note":
        outcome = replace(outcome, notes=(HOSTILE,))
    page = Page(render(outcome))
    assert page.elements == ordinary.elements
    assert page.loads == ordinary.loads
    assert HOSTILE in page.text or HOSTILE in json.loads(page.data)["courses"]["texts"]


def test_only_the_own_script_and_style_may_run() -> None:
    page = render(make_outcome())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src &#x27;none&#x27;" in policy[1]
    assert "unsafe" not in policy[1]


def test_decisions_are_kept_with_their_lines() -> None:
    outcome = make_outcome()
    read = data_of(outcome)["courses"]
    texts, (ours, *_, rival) = read["texts"], read["policies"]
    assert rival["decisions"] == []
    note = outcome.series[0].example.notes[3]
    at, wanted, reason, lines = ours["decisions"][3]
    assert (at, wanted, texts[reason]) == (pytest.approx(note.at - START, abs=0.06), note.wanted, note.reason)
    assert tuple(texts[place] for place in lines) == note.lines


def test_times_begin_where_scoring_does() -> None:
    read = data_of(make_outcome())["courses"]
    assert (read["from"], read["until"], read["at"][0], read["at"][-1]) == (-START, 600 - START, -START, 600 - START)


def test_misses_of_the_warm_up_are_not_drawn() -> None:
    outcome = make_outcome()
    for series, drawn in zip(outcome.series, data_of(outcome)["courses"]["policies"], strict=True):
        missed = series.example.timeline.missed
        assert drawn["missed"][-1] == missed[-1] - missed[int(START)]
        assert min(drawn["missed"]) == 0


@pytest.mark.parametrize("until", [599.0, 1500.0, 7321.0])
def test_the_size_is_bounded_and_peaks_are_kept(until: float) -> None:
    outcome = make_outcome(names=("Static",), seeds=1, sweep_seeds=0, until=until, rate=6.0)
    read = data_of(outcome)["courses"]
    (drawn,) = read["policies"]
    assert len(read["at"]) <= MOST_POINTS
    assert len(read["traffic"]["at"]) <= MOST_POINTS
    assert all(len(drawn[key]) == len(read["at"]) for key in ("replicas", "ready", "queued", "missed"))
    assert max(drawn["queued"]) == outcome.series[0].example.timeline.queued.max() > 0


def test_the_rates_that_are_drawn_are_all_requests() -> None:
    outcome = make_outcome()
    traffic = data_of(outcome)["courses"]["traffic"]
    lengths = np.diff([-START, *traffic["at"]])
    assert float(np.dot(lengths, traffic["perSecond"])) == pytest.approx(
        outcome.series[0].example.timeline.arrived[-1], abs=1
    )


def test_too_many_decisions_are_thinned_to_those_that_changed_something() -> None:
    notes = [Note(float(index), 2 + (index // 10) % 2, "HighLoad", ()) for index in range(5 * MOST_NOTES)]
    ours = data_of(said(make_outcome(), *notes))["courses"]["policies"][0]
    wanted = [decision[1] for decision in ours["decisions"]]
    assert wanted == [2 + index % 2 for index in range(MOST_NOTES // 2)]


def test_a_setting_that_another_beats_is_marked() -> None:
    outcome = make_outcome()
    front = data_of(outcome)["fronts"][0]
    assert [point["knob"] for point in front["points"]] == [f"{point.knob:g}" for point in outcome.series[0].sweep]
    assert sum(point["isUsual"] for point in front["points"]) == 1
    assert 0 < sum(point["isBest"] for point in front["points"]) <= len(front["points"])


@pytest.mark.parametrize("what", WHATEVER)
def test_whatever_there_is_renders(what: str) -> None:
    outcome = make_outcome(**WHATEVER[what])
    text = render(outcome)
    assert text.rstrip().endswith("</html>")
    assert "{{" not in text
    json.loads(Page(text).data)


def test_those_never_served_waited_for_ever() -> None:
    outcome = make_outcome(names=("Static",), seeds=1, sweep_seeds=0, rate=12.0)
    assert "<td>never</td>" in render(outcome)
