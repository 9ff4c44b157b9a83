"""What is allowed in a spec but will not do what one expects."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from generation_operator.api.spec import GenerationServiceSpec, Policy, Scaling, Targets
from generation_operator.api.timed import Schedule
from generation_operator.decide.reach import gaps
from generation_operator.decide.schedules import is_active

_USUAL_SCRAPE_SECONDS: Final = 15
_TYPICAL_GENERATION_SECONDS: Final = 5
_WEEK: Final = timedelta(days=7)
_LOOKED_AT: Final = 500  # starts of a schedule; those of every five minutes for more than a day
_DAY_HOURS: Final = 24


def advice(spec: GenerationServiceSpec, now: float) -> Iterator[str]:
    """Each as `spec.path: what is unwise and what to do`.

    Args:
        spec: a valid spec.
        now: Unix seconds.
    """
    scaling = spec.scaling
    if scaling.policy is Policy.SCORE:
        for gap in gaps(scaling.score, spec.targets):
            yield f"spec.scaling.score.{gap.field}: {gap.text}"
    else:
        yield from _of_targets(scaling)
    yield from _of_bounds(scaling)
    yield from _of_times(scaling, now)
    yield from _of_objectives(spec.targets)
    yield from _of_metrics(spec)


def _of_targets(scaling: Scaling) -> Iterator[str]:
    if scaling.targets.headroom_percent < 0:
        yield (
            f"spec.scaling.targets.headroomPercent: {scaling.targets.headroom_percent} plans with less than the "
            "targets need, so they are missed on purpose: use 0 or more"
        )
    guard = scaling.horizontal_pod_autoscaler.cpu_percent
    if guard is not None and guard <= 80:
        yield (
            f"spec.scaling.horizontalPodAutoscaler.cpuPercent: the guard raises from {guard} % of the request on, "
            "which the policy Targets reaches in normal operation, and pays for replicas that no target needs: "
            "leave it unset"
        )


def _of_bounds(scaling: Scaling) -> Iterator[str]:
    least, most = scaling.min_replicas, scaling.max_replicas
    if least == most:
        yield f"spec.scaling.minReplicas: equals maxReplicas, so there are always {least}: widen the bounds"
    hours = scaling.budget.replica_hours_per_day
    if hours is not None and hours < least * _DAY_HOURS:
        yield (
            f"spec.scaling.budget.replicaHoursPerDay: {hours} does not pay for minReplicas {least}, which take "
            f"{least * _DAY_HOURS} a day and are kept all the same: raise it or lower minReplicas"
        )


def _of_times(scaling: Scaling, now: float) -> Iterator[str]:
    override = scaling.override
    if override is not None:
        if override.until_seconds <= now:
            yield f"spec.scaling.override.until: {override.until} is over, so it does nothing: remove the override"
        if not scaling.min_replicas <= override.replicas <= scaling.max_replicas:
            yield (
                f"spec.scaling.override.replicas: {override.replicas} is outside minReplicas {scaling.min_replicas} "
                f"and maxReplicas {scaling.max_replicas}, which hold: change it or the bounds"
            )
    for index, schedule in enumerate(scaling.schedules):
        path = f"spec.scaling.schedules[{index}]"
        if schedule.min_replicas <= scaling.min_replicas:
            yield (
                f"{path}.minReplicas: {schedule.min_replicas} is not above minReplicas {scaling.min_replicas}, "
                "so the schedule changes nothing: raise it or remove the schedule"
            )
        starts = _starts(schedule, now)
        active = [start for start in starts if _active(schedule, start)]
        if not active:
            yield f"{path}: it ends whenever it starts, so it is never active: choose another end"
        for other in scaling.schedules[:index]:
            if any(_active(other, start) for start in active) or any(
                _active(schedule, start) for start in _starts(other, now)
            ):
                yield (
                    f"{path}: it overlaps with schedule {other.name}; the higher minimum counts, they do not add up: "
                    "make sure that this is meant"
                )


def _starts(schedule: Schedule, now: float) -> list[datetime]:
    """The starts of the next week, at least one."""
    begin = datetime.fromtimestamp(now, ZoneInfo(schedule.time_zone))
    found: list[datetime] = []
    for start in CronSim(schedule.start, begin):
        if found and (start - begin > _WEEK or len(found) >= _LOOKED_AT):
            break
        found.append(start.astimezone(UTC))
    return found


def _active(schedule: Schedule, at: datetime) -> bool:
    return is_active(schedule.start, schedule.end, schedule.time_zone, int(at.timestamp() // 60))


def _of_objectives(targets: Targets) -> Iterator[str]:
    if targets.workflow_duration_seconds < _TYPICAL_GENERATION_SECONDS:
        yield (
            f"spec.targets.workflowDurationSeconds: {targets.workflow_duration_seconds} s is less than one generation "
            f"usually takes ({_TYPICAL_GENERATION_SECONDS} s), and replicas make no workflow faster than itself: "
            "measure first, then promise"
        )
    if targets.success_percent == 100:
        yield (
            "spec.targets.successPercent: 100 leaves no error budget, so one failure holds scale-downs: promise less"
        )


def _of_metrics(spec: GenerationServiceSpec) -> Iterator[str]:
    window, oldest = spec.metrics.window_seconds, spec.metrics.max_age_seconds
    if window < 2 * _USUAL_SCRAPE_SECONDS:
        yield (
            f"spec.metrics.windowSeconds: {window} s holds fewer than two samples of a Prometheus that scrapes every "
            f"{_USUAL_SCRAPE_SECONDS} s, and a rate needs two: use {2 * _USUAL_SCRAPE_SECONDS} or more"
        )
    if oldest < _USUAL_SCRAPE_SECONDS:
        yield (
            f"spec.metrics.maxAgeSeconds: samples of a Prometheus that scrapes every {_USUAL_SCRAPE_SECONDS} s get "
            f"older than {oldest} s, and stale signals hold the replicas: use {2 * _USUAL_SCRAPE_SECONDS} or more"
        )
