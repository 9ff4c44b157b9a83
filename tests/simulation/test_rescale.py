"""Traces become requests: as many as asked for, of the same shape, and the same for the same seed."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation_operator.simulate import traces
from generation_operator.simulate.trace import Floats, Requests
from generation_operator.simulate.traces.intensity import RunningTotal
from generation_operator.simulate.traces.rescale import peak_rate
from generation_operator.simulate.traces.source import counts_of, requests_of

HOUR = 3600.0


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def poisson(rate: float, seconds: float = HOUR, seed: int = 9) -> traces.RequestTrace:
    chance = rng(seed)
    return requests_of("poisson", chance.random(chance.poisson(rate * seconds)) * seconds)


def counts(values: list[float], width: float = 60.0) -> traces.CountTrace:
    return counts_of("counts", np.arange(len(values), dtype=np.float64) * width, np.array(values, dtype=np.float64))


def on_off(seed: int = 9) -> traces.RequestTrace:
    """15 s with 6 requests a second in each minute, else silence."""
    chance = rng(seed)
    times = [minute * 60 + 15 * chance.random(chance.poisson(90)) for minute in range(60)]
    return requests_of("on-off", np.concatenate(times))


def scored(requests: Requests) -> Floats:
    """Scored arrivals, from the start of the trace."""
    return requests.arrivals[requests.arrivals >= requests.scored_from] - requests.scored_from


def per(arrivals: Floats, width: float, until: float = HOUR) -> Floats:
    return np.histogram(arrivals, np.arange(0.0, until + width / 2, width))[0].astype(np.float64)


def dispersion(values: Floats) -> float:
    return float(values.var() / values.mean())


SOURCES: list[Callable[[], traces.Source]] = [
    lambda: poisson(0.3),
    on_off,
    lambda: counts([20.0, 0.0, 50.0, 90.0, 10.0] * 12),
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("growth", list(traces.Growth))
@pytest.mark.parametrize("peak", [0.5, 5, 20])
def test_the_busiest_minute_needs_the_replicas_asked_for(
    source: Callable[[], traces.Source], growth: traces.Growth, peak: float
) -> None:
    given_trace = source()
    factor = peak * 20 * 0.7 / 15 / peak_rate(given_trace)
    runs = [
        scored(traces.realise(given_trace, rng=rng(seed), peak_replicas=peak, growth=growth, burstiness=1.0))
        for seed in range(5)
    ]
    total = sum(len(run) for run in runs) / 5
    expected = factor * sum(
        [len(given_trace.arrivals)] if isinstance(given_trace, traces.RequestTrace) else given_trace.counts
    )
    # Superposed copies are shifted by up to a minute of 60; what goes over the end is cut off.
    assert total == pytest.approx(expected, rel=0.03 + 5 / math.sqrt(5 * expected))


def test_without_a_peak_the_requests_are_those_of_the_trace() -> None:
    source = poisson(0.5)
    requests = traces.realise(source, rng=rng(), warm_up_seconds=0.0)
    np.testing.assert_allclose(requests.arrivals, source.arrivals, atol=1e-9)
    assert requests.duration == source.duration
    assert requests.scored_from == 0.0


def test_own_service_times_follow_their_requests() -> None:
    source = requests_of("own", np.array([5.5, 1.5, 3.5]), service=np.array([50.0, 10.0, 30.0]))
    requests = traces.realise(source, rng=rng(), warm_up_seconds=0.0)
    assert requests.service.tolist() == [10.0, 30.0, 50.0]
    larger = traces.realise(source, rng=rng(), peak_replicas=20, growth=traces.Growth.REPLICATE, warm_up_seconds=0.0)
    assert len(larger.service) > 10
    assert set(larger.service.tolist()) == {10.0, 30.0, 50.0}


def test_unknown_service_times_are_drawn_from_the_known_ones() -> None:
    service = np.where(np.arange(300) % 3 == 0, np.nan, 7.0 + np.arange(300) % 3)
    requests = traces.realise(
        requests_of("own", np.arange(300, dtype=np.float64) + 0.5, service=service), rng=rng(), warm_up_seconds=60.0
    )
    assert set(requests.service.tolist()) == {8.0, 9.0}


def test_tokens_become_seconds_and_can_be_clipped() -> None:
    source = requests_of(
        "tokens",
        np.array([0.5, 1.5]),
        input_tokens=np.array([5000.0, 0.0]),
        output_tokens=np.array([100.0, 2000.0]),
    )
    assert traces.realise(source, rng=rng(), warm_up_seconds=0).service.tolist() == [5.0, 61.0]
    clipped = traces.realise(source, rng=rng(), warm_up_seconds=0, token_clip_seconds=(5.5, 30.0))
    assert clipped.service.tolist() == [5.5, 30.0]


@pytest.mark.parametrize(
    ("law", "variation"),
    [(None, 0.6), (traces.ServiceLaw.LOGNORMAL, 0.6), (traces.ServiceLaw.EXPONENTIAL, 1.0)],
)
def test_drawn_service_times_have_the_mean_asked_for_and_the_laws_spread(
    law: traces.ServiceLaw | None, variation: float
) -> None:
    service = traces.realise(poisson(10.0), rng=rng(), mean_service_seconds=8.0, service_distribution=law).service
    assert service.mean() == pytest.approx(8.0, rel=0.03)
    assert service.std() / service.mean() == pytest.approx(variation, rel=0.05)
    assert service.min() > 0


def test_constant_service_times_and_naming_a_law_sets_recorded_ones_aside() -> None:
    source = requests_of("own", np.array([0.5, 1.5]), service=np.array([50.0, 10.0]))
    requests = traces.realise(
        source,
        rng=rng(),
        mean_service_seconds=8.0,
        service_distribution=traces.ServiceLaw.CONSTANT,
        warm_up_seconds=0,
    )
    assert requests.service.tolist() == [8.0, 8.0]


def test_the_scale_depends_on_the_service_times_so_that_busy_slots_are_what_is_asked_for() -> None:
    source = poisson(2.0)
    short = traces.realise(source, rng=rng(), peak_replicas=20, mean_service_seconds=5.0)
    long = traces.realise(source, rng=rng(), peak_replicas=20, mean_service_seconds=20.0)
    assert len(short.arrivals) / len(long.arrivals) == pytest.approx(4.0, rel=0.03)


def test_superposing_smooths_within_the_minute_and_replicating_keeps_the_bursts() -> None:
    source = on_off()
    bursts = dispersion(per(source.arrivals, 10.0))
    factor = 20 * 20 * 0.7 / 15 / peak_rate(source)
    smooth = traces.realise(source, rng=rng(), peak_replicas=20)
    hard = traces.realise(source, rng=rng(), peak_replicas=20, growth=traces.Growth.REPLICATE)
    assert dispersion(per(scored(hard), 10.0)) == pytest.approx(bursts * factor, rel=0.1)
    assert dispersion(per(scored(smooth), 10.0)) < 0.6 * bursts * factor


def test_superposing_keeps_the_shape_of_the_minutes() -> None:
    shape = np.repeat([2.0, 10.0, 4.0, 20.0], 15)
    source = counts([60 * value for value in shape])
    growing = traces.realise(source, rng=rng(), peak_replicas=100, burstiness=1.0)
    minutes = per(scored(growing), 60.0)
    assert np.corrcoef(minutes, shape)[0, 1] > 0.95
    assert minutes[10] / minutes[25] == pytest.approx(0.2, rel=0.15)


def test_thinning_brings_arrivals_near_poisson() -> None:
    source = on_off()
    thin = traces.realise(source, rng=rng(), peak_replicas=1, mean_service_seconds=60.0, warm_up_seconds=0)
    factor = 14 / 60 / peak_rate(source)
    assert factor < 0.2
    bursts = dispersion(per(source.arrivals, 10.0))
    # Thinned by S, the dispersion is 1 + S (IoD - 1).
    assert dispersion(per(scored(thin), 10.0)) == pytest.approx(1 + factor * (bursts - 1), rel=0.15)


@pytest.mark.parametrize("burstiness", [1.0, 3.0, 17.0])
def test_counts_get_the_burstiness_asked_for(burstiness: float) -> None:
    source = counts([600.0] * 600)  # ten hours at 10 a second
    requests = traces.realise(source, rng=rng(), burstiness=burstiness, warm_up_seconds=0)
    tens = per(requests.arrivals, 10.0, 36_000.0)[12:]
    assert tens.mean() == pytest.approx(100.0, rel=0.03)
    assert dispersion(tens) == pytest.approx(burstiness, rel=0.15)


def test_burstiness_grows_with_replication_and_not_with_superposition() -> None:
    source = counts([60.0] * 600)
    found = {
        growth: dispersion(
            per(
                scored(traces.realise(source, rng=rng(), peak_replicas=8 * 15 / 14, growth=growth, burstiness=3.0)),
                10.0,
                36_000.0,
            )[12:]
        )
        for growth in traces.Growth
    }
    assert found[traces.Growth.REPLICATE] == pytest.approx(1 + 2 * 8, rel=0.2)
    assert found[traces.Growth.SUPERPOSE] == pytest.approx(3.0, rel=0.2)


def test_bins_that_are_short_hold_their_bursts_themselves() -> None:
    source = counts([10.0] * 3600, width=1.0)
    tens = per(traces.realise(source, rng=rng(), warm_up_seconds=0).arrivals, 10.0)
    assert dispersion(tens) == pytest.approx(1.0, abs=0.25)


def test_the_warm_up_runs_at_the_first_rate_and_does_not_count() -> None:
    source = counts([120.0] * 5 + [600.0] * 55)
    requests = traces.realise(source, rng=rng(), burstiness=1.0, warm_up_seconds=600.0)
    assert requests.scored_from == 600.0
    assert requests.duration == 4200.0
    before = requests.arrivals[requests.arrivals < 600.0]
    assert len(before) / 600 == pytest.approx(2.0, rel=0.15)
    assert len(before[before < 60]) / 60 == pytest.approx(2.0, rel=0.5), "the first minute is not half empty"


def test_a_scaled_trace_is_warmed_up_at_its_scale() -> None:
    requests = traces.realise(poisson(1.0), rng=rng(), peak_replicas=20)
    warm = float(np.count_nonzero(requests.arrivals < 600)) / 600
    assert warm == pytest.approx(len(scored(requests)) / HOUR, rel=0.15)


def test_compression_packs_the_same_requests_into_less_time_and_leaves_service_times() -> None:
    source = requests_of("own", np.array([24.5, 48.5, 240.5]), service=np.array([1.0, 2.0, 3.0]))
    requests = traces.realise(source, rng=rng(), time_compression=24, warm_up_seconds=0)
    assert requests.arrivals == pytest.approx([24.5 / 24, 48.5 / 24, 240.5 / 24])
    assert requests.service.tolist() == [1.0, 2.0, 3.0]
    squeezed = traces.compressed(counts([10.0, 20.0]), 6)
    assert isinstance(squeezed, traces.CountTrace)
    assert squeezed.edges.tolist() == [0.0, 10.0, 20.0]
    assert squeezed.counts.tolist() == [10.0, 20.0]


def test_whole_seconds_are_spread_within_their_second() -> None:
    source = requests_of("coarse", np.repeat(np.arange(100.0), 20))
    arrivals = traces.realise(source, rng=rng(), warm_up_seconds=0).arrivals
    assert len(np.unique(arrivals)) == 2000
    assert per(arrivals, 1.0, 100.0).tolist() == [20.0] * 100


def test_a_window_counts_from_its_start() -> None:
    source = requests_of("own", np.array([1.5, 5.5, 9.5]), service=np.array([1.0, 2.0, 3.0]))
    part = traces.window(source, 5.0, 9.0)
    assert isinstance(part, traces.RequestTrace)
    assert (part.arrivals.tolist(), part.duration) == ([0.5], 4.0)
    assert part.service is not None
    assert part.service.tolist() == [2.0]
    bins = traces.window(counts([60.0, 120.0, 60.0]), 30.0, 150.0)
    assert isinstance(bins, traces.CountTrace)
    assert bins.edges.tolist() == [0.0, 30.0, 90.0, 120.0]
    assert bins.counts.tolist() == [30.0, 120.0, 30.0]


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [(5.0, 5.0, "is empty"), (-1.0, 5.0, "is empty"), (11.0, 12.0, "nothing comes after"), (2.0, 3.0, "no requests")],
)
def test_a_window_without_requests_is_refused(start: float, end: float, says: str) -> None:
    with pytest.raises(traces.TraceError, match=says):
        traces.window(requests_of("own", np.array([1.5, 5.5, 9.5])), start, end)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"peak_replicas": 0}, "peak_replicas"),
        ({"peak_replicas": math.nan}, "peak_replicas"),
        ({"slots": 0}, "slots"),
        ({"planned_utilization": 1.2}, "planned_utilization"),
        ({"mean_service_seconds": 0}, "mean_service_seconds"),
        ({"service_variation": -1}, "service_variation"),
        ({"token_clip_seconds": (30.0, 5.0)}, "token_clip_seconds"),
        ({"time_compression": 0}, "time_compression"),
        ({"time_compression": math.nan}, "time_compression"),
        ({"burstiness": 0.5}, "burstiness"),
        ({"burstiness": math.nan}, "burstiness"),
        ({"warm_up_seconds": -1}, "warm_up_seconds"),
        ({"peak_replicas": 1e6, "mean_service_seconds": 0.01}, "more than 20,000,000; choose a shorter part"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(options: dict[str, Any], says: str) -> None:
    tokens = np.ones(3)
    source = requests_of("tokens", np.array([0.5, 1.5, 2.5]), input_tokens=tokens, output_tokens=tokens)
    if "mean_service_seconds" in options or "service_variation" in options:
        options = {"service_distribution": traces.ServiceLaw.LOGNORMAL} | options
    with pytest.raises(traces.TraceError, match=says):
        traces.realise(source, rng=rng(), **options)


def test_silence_cannot_be_scaled_but_can_be_replayed() -> None:
    with pytest.raises(traces.TraceError, match="has no requests to scale"):
        traces.realise(counts([0.0, 0.0]), rng=rng(), peak_replicas=20)
    assert len(traces.realise(counts([0.0, 0.0]), rng=rng()).arrivals) == 0


def test_six_hundred_thousand_requests_take_less_than_a_second() -> None:
    sources: list[traces.Source] = [counts([10_000.0] * 60), poisson(10.0)]
    for source in sources:
        began = time.process_time()
        requests = traces.realise(source, rng=rng(), peak_replicas=205, burstiness=2.0)
        took = time.process_time() - began
        assert len(scored(requests)) > 600_000
        assert took < 1.0


# --- whatever the trace -------------------------------------------------------------------------------------------

request_traces = st.lists(st.floats(0, 7200, allow_subnormal=False), min_size=1, max_size=60).map(
    lambda times: requests_of("any", np.array(times, dtype=np.float64))
)
count_traces = st.tuples(
    st.lists(st.floats(0, 500, allow_subnormal=False), min_size=2, max_size=60),
    st.sampled_from([1.0, 10.0, 57.0, 300.0]),
).map(lambda drawn: counts(drawn[0], drawn[1]))


@settings(deadline=None, max_examples=150)
@given(
    source=st.one_of(request_traces, count_traces),
    peak=st.none() | st.floats(0.1, 30),
    growth=st.sampled_from(traces.Growth),
    compression=st.sampled_from([0.5, 1.0, 12.0]),
    warm_up=st.sampled_from([0.0, 600.0]),
    seed=st.integers(0, 2**32),
)
def test_requests_are_always_sorted_within_the_trace_served_in_some_time_and_the_same_for_a_seed(
    *,
    source: traces.Source,
    peak: float | None,
    growth: traces.Growth,
    compression: float,
    warm_up: float,
    seed: int,
) -> None:
    def once() -> Requests:
        return traces.realise(
            source,
            rng=rng(seed),
            peak_replicas=peak,
            growth=growth,
            time_compression=compression,
            warm_up_seconds=warm_up,
        )

    try:
        requests = once()
    except traces.TraceError as error:
        # Nothing to scale, or a minute with next to nothing in it, to be scaled without bounds.
        if "no requests to scale" in str(error) or "would become" in str(error):
            return
        raise
    assert np.isfinite(requests.arrivals).all()
    assert np.isfinite(requests.service).all()
    assert (np.diff(requests.arrivals) >= 0).all()
    assert requests.scored_from == warm_up
    assert requests.duration == pytest.approx(warm_up + source.duration / compression)
    assert len(requests.service) == len(requests.arrivals)
    if len(requests.arrivals):
        assert requests.arrivals[0] >= 0
        assert requests.arrivals[-1] <= requests.duration
        assert requests.service.min() > 0
    again = once()
    np.testing.assert_array_equal(requests.arrivals, again.arrivals)
    np.testing.assert_array_equal(requests.service, again.service)


@settings(deadline=None, max_examples=60)
@given(
    rates=st.lists(st.floats(0.5, 5.0), min_size=10, max_size=30),
    factor=st.floats(0.05, 6.0),
    growth=st.sampled_from(traces.Growth),
    seed=st.integers(0, 2**32),
)
def test_scaling_multiplies_the_number_of_requests_within_statistical_bounds(
    rates: list[float], factor: float, growth: traces.Growth, seed: int
) -> None:
    # The same rate first and last, so that what shifts move over the end is what they bring in at the start.
    source = counts([60 * rate for rate in [rates[0], *rates, rates[0]]])
    peak = factor * peak_rate(source) * 15 / 14
    requests = scored(traces.realise(source, rng=rng(seed), peak_replicas=peak, growth=growth, burstiness=1.0))
    expected = factor * float(source.counts.sum())
    moved = 60 * factor * 5.0 if growth is traces.Growth.SUPERPOSE and factor > 1 else 0.0
    assert abs(len(requests) - expected) <= 6 * math.sqrt(expected) + moved + 1


@settings(deadline=None, max_examples=200)
@given(source=count_traces, moments=st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_the_running_total_keeps_every_bin_and_never_falls(source: traces.CountTrace, moments: list[float]) -> None:
    total = RunningTotal(source)
    scale = max(1.0, float(source.counts.sum()))
    np.testing.assert_allclose(total.between(source.edges), source.counts, atol=1e-9 * scale)
    at = total.at(np.sort(np.array(moments)) * source.duration)
    assert (np.diff(at) >= -1e-9 * scale).all()
    assert at.min() >= -1e-9 * scale
    assert at.max() <= scale * (1 + 1e-9)
