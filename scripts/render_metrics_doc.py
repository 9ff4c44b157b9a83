"""Render `docs/metrics.md` and `docs/operator-metrics.md` from the catalogues, so that no metric is undocumented.

`--check` compares instead and exits with 1 when the committed file is out of date.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from generation_operator.telemetry import catalogue
from generation_service.performance.catalogue import METRICS, MetricSpec

_DOCS: Final = Path(__file__).parents[1] / "docs"
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


_OPERATOR_HEAD: Final = """\
# Metrics of the operator

<!-- Generated from the catalogue in code; do not edit, run: python scripts/render_metrics_doc.py -->

`GET /metrics` on the port of the probes (8080) answers in Prometheus' text format; the chart annotates the pods for
scraping. Every label has a bounded set of values, and no metric has one series per service: what a single service
needs is in its status, its Events and the decision log (a JSON object per line on standard output).

| name | type | labels | what it is | what to look at it for |
|---|---|---|---|---|
"""


def render() -> str:
    """The whole of `metrics.md`."""
    return _HEAD + "".join(_row(spec) for spec in METRICS)


def render_operator() -> str:
    """The whole of `operator-metrics.md`."""
    return _OPERATOR_HEAD + "".join(_operator_row(spec) for spec in catalogue.METRICS)


def _row(spec: MetricSpec) -> str:
    return f"| `{spec.name}` | {spec.kind.value} | {_labels(spec)} | {spec.unit} | {spec.help} | {spec.use} |\n"


def _operator_row(spec: catalogue.MetricSpec) -> str:
    return f"| `{catalogue.PREFIX}{spec.name}` | {spec.kind.value} | {_labels(spec)} | {spec.help} | {spec.use} |\n"


def _labels(spec: MetricSpec | catalogue.MetricSpec) -> str:
    return "; ".join(f"`{name}`: {values}" for name, values in spec.labels.items())


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description="Render the pages about metrics from their catalogues.")
    parser.add_argument("--check", action="store_true", help="compare with the committed files and write nothing")
    check = parser.parse_args().check
    stale = []
    for name, text in (("metrics.md", render()), ("operator-metrics.md", render_operator())):
        target = _DOCS / name
        if not check:
            target.write_text(text)
        elif not target.exists() or target.read_text() != text:
            stale.append(name)
    for name in stale:
        sys.stderr.write(
            f"docs/{name} is not what the catalogue says: run `python scripts/render_metrics_doc.py` and commit it\n"
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
