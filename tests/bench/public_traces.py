"""Slices of public traces, each scaled so that its busiest minutes need 20 replicas of 20 slots.

The traces themselves are not part of this repository: whoever has them names their folder, and a slice whose file is
not there is simply not available. A slice is chosen for its shape, never for its outcome; traces longer than half a day
are cut or compressed in time, and start-up and sampling periods are never scaled along.

A trace that has to be made larger exists twice: superposed (its bursts are smoothed) and, as `<name>_hard`, with each
request repeated near its place (its bursts grow with it). The truth lies between the two.
"""

import csv
import gzip
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from generation_operator.simulate import traces
from generation_operator.simulate.trace import Requests
from generation_operator.simulate.traces.source import counts_of

FOLDER: Final = Path(__file__).parents[3] / "shared" / "traces"
_DAY: Final = 86_400.0
_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a trace and how it is replayed.

    Attributes:
        name: of the slice.
        file: below the folder of traces.
        window: seconds from the start of the trace; None: all of it.
        compression: of time.
        service_seconds: mean of drawn service times; recorded times and tokens come first.
        column: of a rate in a table of rates; empty: an ordinary trace file.
        growth: how it is made larger.
        as_is: not scaled, and without a warm-up.
    """

    name: str
    file: str
    window: tuple[float, float] | None = None
    compression: float = 1.0
    service_seconds: float = 15.0
    column: str = ""
    growth: traces.Growth = traces.Growth.SUPERPOSE
    as_is: bool = False


_AUTOTHROTTLE: Final = "autothrottle_1h/normalized/counts_1s_{}.csv.gz"
_CONV: Final = Slice("azure_llm_conv", "azure_llm_2023_conv/normalized/requests.csv.gz")
_CODE: Final = Slice("azure_llm_code", "azure_llm_2023_code/normalized/requests.csv.gz")
# A week that begins on a Tuesday; all 13 days would run for 13 h.
_IMAGES: Final = Slice(
    "alibaba_images", "alibaba_genai_images/normalized/requests.csv.gz", window=(0.0, 7 * _DAY), compression=24.0
)
_GATEWAY: Final = Slice(
    "alibaba_gateway",
    "alibaba_genai_images/normalized/gateway_qps_57s.csv.gz",
    compression=4.0,
    service_seconds=18.2,  # mean of the pipelines behind that gateway
    column="generative_qps_anon",
)
_NASA: Final = Slice(
    "nasa_launch", "nasa_http_1995/normalized/counts_10s.csv.gz", window=(12 * _DAY, 14 * _DAY), compression=6.0
)
# The same traffic without compression: ramps against the start-up times they had.
_NASA_UNCOMPRESSED: Final = replace(
    _NASA, name="nasa_launch_uncompressed", window=(12.5 * _DAY, 12.75 * _DAY), compression=1.0
)
_NAB: Final = Slice(
    "nab_elb",
    "nab_elb_request_count/normalized/counts_300s_elb_request_count_8c0756.csv.gz",
    window=(2 * _DAY, 4 * _DAY),
    compression=5.0,
)
_WORLDCUP: Final = "worldcup98_public/normalized/counts_60s_{}.csv.gz"
_AIBRIX: Final = Slice("aibrix", "aibrix_25min_experiment/normalized/requests.csv.gz", service_seconds=10.0)


def _hard(ordinary: Slice) -> Slice:
    return replace(ordinary, name=f"{ordinary.name}_hard", growth=traces.Growth.REPLICATE)


_SLICES: Final = (
    _CONV,
    _hard(_CONV),
    _CODE,
    _hard(_CODE),
    _IMAGES,
    _hard(_IMAGES),
    _GATEWAY,
    Slice("autothrottle_diurnal", _AUTOTHROTTLE.format("diurnal")),
    Slice("autothrottle_diurnal_2", _AUTOTHROTTLE.format("diurnal-2")),
    Slice("autothrottle_noisy", _AUTOTHROTTLE.format("noisy")),
    Slice("autothrottle_bursty", _AUTOTHROTTLE.format("bursty")),
    _NASA,
    _NASA_UNCOMPRESSED,
    _hard(_NASA_UNCOMPRESSED),
    Slice("worldcup_opening", _WORLDCUP.format("jun08_22_group_stage"), window=(2.5 * _DAY, 3 * _DAY)),
    # Four days with the first matches; all 15 days would run for 30 h.
    Slice(
        "worldcup_group_stage", _WORLDCUP.format("jun08_22_group_stage"), window=(2 * _DAY, 6 * _DAY), compression=12.0
    ),
    Slice("worldcup_flash", _WORLDCUP.format("may12_spike"), window=(5.5 * _HOUR, 8.5 * _HOUR)),
    _NAB,
    _hard(_NAB),
    _AIBRIX,
    _hard(_AIBRIX),
    replace(_AIBRIX, name="aibrix_as_is", as_is=True),
)
SLICES: Final = {chosen.name: chosen for chosen in _SLICES}


def available(folder: Path = FOLDER) -> list[str]:
    """The slices whose files are there."""
    return [name for name, chosen in SLICES.items() if (folder / chosen.file).is_file()]


def load(
    name: str, seed: int, folder: Path = FOLDER, *, peak_replicas: float = 20.0, slots: int = 20, warm_up: float = 600.0
) -> Requests:
    """One realisation of a slice; the same name and seed give the same requests."""
    chosen = SLICES[name]
    return traces.realise(
        source(name, folder),
        rng=np.random.default_rng(seed),
        peak_replicas=None if chosen.as_is else peak_replicas,
        slots=slots,
        mean_service_seconds=chosen.service_seconds,
        time_compression=chosen.compression,
        growth=chosen.growth,
        warm_up_seconds=0.0 if chosen.as_is else warm_up,
    )


def source(name: str, folder: Path = FOLDER) -> traces.Source:
    """A slice as it was recorded."""
    chosen = SLICES[name]
    path = folder / chosen.file
    whole = _whole(path, chosen.column)
    return whole if chosen.window is None else traces.window(whole, *chosen.window)


@lru_cache(maxsize=32)
def _whole(path: Path, column: str) -> traces.Source:
    return _rates(path, column) if column else traces.read(path)


def _rates(path: Path, column: str) -> traces.CountTrace:
    """A table of rates with holes: empty cells, and rows that are not there."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [(float(row["t_s"]), float(row[column])) for row in csv.DictReader(file) if row[column]]
    times, rates = np.array(rows).T
    return counts_of(path.name, times, rates, per_second=True)
