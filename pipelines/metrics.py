"""A run's figures in the text format of Prometheus, for node_exporter's textfile collector."""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile
from prometheus_client.parser import text_string_to_metric_families

from pipelines.history import History
from pipelines.job import Job
from pipelines.outcome import LOADED, Outcome, Status

STATUSES = tuple(status for status in Status if status is not Status.RUNNING)
LAST_SUCCESS = "braze_elt_last_success_timestamp_seconds"
Labels = dict[str, str]


def write_metrics(file: Path, job: Job, outcome: Outcome, history: History) -> None:
    """Replace `file` by the metrics of the run, at once; every one is labelled with command, destination and dataset.

    The time of the last success outlives failing runs: it comes from the warehouse, or else from the file that is
    replaced. Raises `OSError`.
    """
    labels = {"command": job.command, "destination": job.destination, "dataset": job.dataset}
    success = _last_success(outcome, history) or _written_success(file, labels)
    write_to_textfile(str(file), _registry(labels, outcome, history, success))


class _Gauges:
    """Gauges of one registry that share labels."""

    def __init__(self, labels: Labels) -> None:
        self.registry = CollectorRegistry()
        self._labels = labels

    def one(self, name: str, meaning: str, value: float) -> None:
        """A gauge with one value."""
        gauge = Gauge(name, meaning, [*self._labels], registry=self.registry)
        gauge.labels(**self._labels).set(value)

    def many(self, name: str, meaning: str, label: str, values: Mapping[str, float]) -> None:
        """A gauge with a value for each value of one more label."""
        gauge = Gauge(name, meaning, [*self._labels, label], registry=self.registry)
        for key, value in values.items():
            gauge.labels(**self._labels, **{label: key}).set(value)


def _registry(labels: Labels, outcome: Outcome, history: History, success: float | None) -> CollectorRegistry:
    gauges = _Gauges(labels)
    gauges.many(
        "braze_elt_run_status",
        "1 for how the last run ended, 0 for the other ways.",
        "status",
        {status: float(status == outcome.status) for status in STATUSES},
    )
    ended = outcome.finished_at or outcome.started_at
    gauges.one("braze_elt_last_run_timestamp_seconds", "When the last run ended.", ended.timestamp())
    if success is not None:
        gauges.one(LAST_SUCCESS, "When the last run that loaded, with or without failures, ended.", success)
    gauges.one("braze_elt_run_duration_seconds", "How long the last run took.", outcome.seconds)
    traffic = outcome.traffic
    gauges.one("braze_elt_run_requests", "Requests of the last run.", traffic.requests if traffic else 0)
    gauges.one("braze_elt_run_retries", "Those of them that were sent again.", traffic.retries if traffic else 0)
    gauges.one("braze_elt_run_refused", "Those of them that got a 429.", traffic.refused if traffic else 0)
    gauges.one(
        "braze_elt_run_waited_seconds",
        "How long rate limits held requests of the last run back.",
        traffic.waited if traffic else 0,
    )
    gauges.many("braze_elt_run_rows", "Rows that the last run loaded.", "table", dict(outcome.rows))
    gauges.one("braze_elt_run_failures", "What the last run could not load.", len(outcome.failures))
    gauges.one(
        "braze_elt_open_failures", "Entities that failed in any run and were not loaded since.", len(history.since)
    )
    gauges.many(
        "braze_elt_newest_day_timestamp_seconds",
        "When the newest day of the table began, in the workspace's time zone.",
        "table",
        {
            name: datetime.combine(day, time.min, outcome.zone).timestamp()
            for name, day in history.newest.items()
            if day
        },
    )
    return gauges.registry


def _last_success(outcome: Outcome, history: History) -> float | None:
    last = outcome.finished_at if outcome.status in LOADED else history.loaded
    return last.astimezone(UTC).timestamp() if last else None


def _written_success(file: Path, labels: Labels) -> float | None:
    """The time of the last success that `file` states for the same labels."""
    try:
        text = file.read_text(encoding="utf-8")
        families = list(text_string_to_metric_families(text))
    except (OSError, ValueError):
        return None
    samples = [sample for family in families for sample in family.samples if sample.name == LAST_SUCCESS]
    return next((sample.value for sample in samples if sample.labels == labels), None)
