"""Render `docs/metrics.md` from the service's catalogue of metrics, so that no metric is undocumented.

`--check` compares instead and exits with 1 when the committed file is out of date.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from generation_service.performance.catalogue import METRICS, MetricSpec

_TARGET: Final = Path(__file__).parents[1] / "docs" / "metrics.md"
_HEAD: Final = """\
# Metrics of the generation service

<!-- Generated from the catalogue in code; do not edit, run: python scripts/render_metrics_doc.py -->

`GET /metrics` answers in Prometheus' text format. Every series exists from the first scrape on, and every label has a
bounded set of values. The labels `namespace`, `pod` and `generationservice` (the resource that owns the pod) are added
by the scrape configuration, never by the service. A gauge that is not known is `NaN`, never 0.

`GET /load` answers with three lines at constant cost, for whoever samples pods every few seconds:
`generation_service_load_in_flight`, `generation_service_load_queued` (gauges) and
`generation_service_load_arrived_total` (a counter).

Beside these, the usual `process_*` metrics describe the service's own process.

| name | type | labels | unit | what it is | what to look at it for |
|---|---|---|---|---|---|
"""


def render() -> str:
    """The whole file."""
    return _HEAD + "".join(_row(spec) for spec in METRICS)


def _row(spec: MetricSpec) -> str:
    labels = "; ".join(f"`{name}`: {values}" for name, values in spec.labels.items())
    return f"| `{spec.name}` | {spec.kind.value} | {labels} | {spec.unit} | {spec.help} | {spec.use} |\n"


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description="Render docs/metrics.md from the catalogue of metrics.")
    parser.add_argument("--check", action="store_true", help="compare with the committed file and write nothing")
    text = render()
    if not parser.parse_args().check:
        _TARGET.write_text(text)
    elif not _TARGET.exists() or _TARGET.read_text() != text:
        sys.stderr.write(
            "docs/metrics.md is not what the catalogue says: run `python scripts/render_metrics_doc.py` and commit it\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
