"""The catalogue of public traces, on the real files where they are and on made-up files of the same form elsewhere."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench import public_traces
from generation_operator.simulate import traces
from generation_operator.simulate.trace import Floats
from generation_operator.simulate.traces.rescale import peak_rate, rate_between

# Of the analysis of these traces: how many times as much makes the busiest minutes need 20 replicas of 20 slots.
PUBLISHED = {
    "azure_llm_conv": 4.39,
    "azure_llm_code": 11.9,
    "alibaba_gateway": 0.668,
    "autothrottle_diurnal": 0.05,
    "autothrottle_diurnal_2": 0.048,
    "autothrottle_noisy": 0.0909,
    "autothrottle_bursty": 0.048,
    "nasa_launch": 0.619,
    "worldcup_opening": 0.00873,
    "worldcup_flash": 0.0196,
    "aibrix": 3.17,
}
GENERATED = "generated"
REAL = "public"


def packed(path: Path, header: str, rows: Sequence[Sequence[float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header, *(",".join(f"{cell:.10g}" if cell >= 0 else "" for cell in row) for row in rows)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def generate(folder: Path) -> None:
    """Files of the same names, columns, resolutions and lengths as the public ones, with other numbers."""
    rng = np.random.default_rng(5)

    def wave(times: Floats, mean: float) -> list[int]:
        return [int(count) for count in rng.poisson(mean * (1.2 + np.sin(times / times[-1] * 12)))]

    for name in ("azure_llm_2023_conv", "azure_llm_2023_code"):
        tokens = rng.integers(1, 2000, (2000, 2))
        rows = [(at, *pair) for at, pair in zip(np.sort(rng.random(2000)) * 3500, tokens.tolist(), strict=True)]
        packed(folder / name / "normalized/requests.csv.gz", "arrival_s,input_tokens,output_tokens", rows)
    images = [(at, 5 + at % 40) for at in np.sort(rng.integers(0, 13 * 86_400, 6000)).tolist()]
    packed(folder / "alibaba_genai_images/normalized/requests.csv.gz", "arrival_s,exec_s", images)
    samples = [(57.0 * row, 0.5, -1.0 if row % 7 == 0 else 1 + row % 5) for row in range(1400) if row % 11 and row % 13]
    packed(
        folder / "alibaba_genai_images/normalized/gateway_qps_57s.csv.gz",
        "t_s,api_qps_anon,generative_qps_anon",
        samples,
    )
    aibrix = [(at,) for at in np.sort(rng.random(5012)) * 1480]
    packed(folder / "aibrix_25min_experiment/normalized/requests.csv.gz", "arrival_s", aibrix)
    bins = {
        "autothrottle_1h/normalized/counts_1s_diurnal.csv.gz": (1, 3600, 200),
        "autothrottle_1h/normalized/counts_1s_diurnal-2.csv.gz": (1, 3600, 200),
        "autothrottle_1h/normalized/counts_1s_noisy.csv.gz": (1, 3600, 150),
        "autothrottle_1h/normalized/counts_1s_bursty.csv.gz": (1, 3600, 150),
        "nasa_http_1995/normalized/counts_10s.csv.gz": (10, 15 * 8640, 7),
        "worldcup98_public/normalized/counts_60s_jun08_22_group_stage.csv.gz": (60, 21_600, 20_000),
        "worldcup98_public/normalized/counts_60s_may12_spike.csv.gz": (60, 1440, 1500),
        "nab_elb_request_count/normalized/counts_300s_elb_request_count_8c0756.csv.gz": (300, 4032, 60),
    }
    for file, (width, length, mean) in bins.items():
        times = np.arange(length, dtype=np.float64) * width
        packed(folder / file, "t_s,count", list(zip(times.tolist(), wave(times, mean), strict=True)))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces")
    generate(folder)
    return folder


CASES = [(GENERATED, name) for name in public_traces.SLICES] + [
    (REAL, name) for name in public_traces.available() if not name.endswith("_hard")
]


@pytest.mark.parametrize(("origin", "name"), CASES)
def test_every_slice_is_read_and_scaled_to_its_peak(generated: Path, origin: str, name: str) -> None:
    folder = generated if origin == GENERATED else public_traces.FOLDER
    chosen = public_traces.SLICES[name]
    source = public_traces.source(name, folder)
    requests = public_traces.load(name, 3, folder)
    hours = (requests.duration - requests.scored_from) / 3600
    assert 0.4 < hours <= 12.01
    assert (np.diff(requests.arrivals) >= 0).all()
    if chosen.as_is:
        assert len(requests.arrivals) == 5012
        return
    arrivals = requests.arrivals[requests.arrivals >= requests.scored_from]
    # Busy slots in steady state at the mean rate; the peak is at 280 of them.
    mean_busy = len(arrivals) / (hours * 3600) * requests.service.mean()
    played = traces.compressed(source, chosen.compression)
    assert mean_busy == pytest.approx(280 * rate_between(played, 0, played.duration) / peak_rate(played), rel=0.15)
    assert 3 < mean_busy < 280


@pytest.mark.parametrize("name", [name for name in public_traces.available() if name in PUBLISHED] or [GENERATED])
def test_the_scale_agrees_with_the_analysis_of_the_traces(name: str) -> None:
    if name == GENERATED:
        assert not public_traces.FOLDER.exists(), "the folder of traces is there but holds none of those known"
        return
    chosen = public_traces.SLICES[name]
    requests = public_traces.load(name, 1)
    source = public_traces.source(name)
    scale = 280 / (peak_rate(traces.compressed(source, chosen.compression)) * requests.service.mean())
    assert scale == pytest.approx(PUBLISHED[name], rel=0.03)


def test_hard_variants_have_as_many_requests_and_more_bursts(generated: Path) -> None:
    easy = public_traces.load("azure_llm_conv", 1, generated)
    hard = public_traces.load("azure_llm_conv_hard", 1, generated)
    assert len(hard.arrivals) == pytest.approx(len(easy.arrivals), rel=0.1)

    def dispersion(arrivals: Floats) -> float:
        tens = np.bincount((arrivals[arrivals > 600] // 10).astype(np.int64))[60:-2]
        return float(tens.var() / tens.mean())

    assert dispersion(hard.arrivals) > 1.5 * dispersion(easy.arrivals)


def test_a_slice_is_the_same_for_a_seed_and_another_for_another(generated: Path) -> None:
    one, same, other = (public_traces.load("worldcup_flash", seed, generated) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.arrivals, same.arrivals)
    np.testing.assert_array_equal(one.service, same.service)
    assert one.arrivals.tolist() != other.arrivals.tolist()


def test_without_the_traces_none_is_available(tmp_path: Path) -> None:
    assert public_traces.available(tmp_path) == []
    with pytest.raises(traces.TraceError, match="cannot be read: No such file"):
        public_traces.load("aibrix", 1, tmp_path)
