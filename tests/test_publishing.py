"""What a run leaves beside its tables: a Markdown summary, a file for Prometheus, an alert; whatever way it ends."""

import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pipelines.alerts import message
from pipelines.history import History
from pipelines.job import Job
from pipelines.metrics import write_metrics
from pipelines.outcome import Outcome, Status
from pipelines.run import run
from pipelines.summary import append_summary, run_summary
from pipelines.verify import run_verify
from sources.braze.failures import Failure
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.commands import braze_elt, sentence
from tests.loopback import Loopback, Received, Reply
from tests.nights import NOON, quick_client
from tests.workspaces import files_with

ZONE = "America/New_York"
FIRST = date(2026, 3, 20)
KEY = "8a1f5c52-0c1d-4b6e-9d2b-5a2f6b7c8d90"
WRONG_KEY = "00000000-dead-beef-0000-000000000000"
TOKEN = "T0KEN-of-the-webhook"
SELECT = "campaigns,campaign_series,kpis"
SIZES = {"campaigns": 3, "canvases": 0, "segments": 0, "cards": 0, "events": 0, "products": 0, "users": 0, "days": 40}


@dataclass(frozen=True)
class Published:
    """What one run said: exit code (None if it raised), summary, metrics, alerts, output."""

    code: int | None
    summary: str
    metrics: str
    alerts: list[Received]
    output: str

    @property
    def alert(self) -> str:
        (request,) = self.alerts
        return str(json.loads(request.body)["text"])

    def value(self, name: str, **labels: str) -> float | None:
        """The value of a metric that has these labels among its own."""
        samples = [
            sample.value
            for family in text_string_to_metric_families(self.metrics)
            for sample in family.samples
            if sample.name == f"braze_elt_{name}" and labels.items() <= sample.labels.items()
        ]
        assert len(samples) <= 1, (name, labels, samples)
        return samples[0] if samples else None


class Company:
    """A workspace, a warehouse, a chat; nights on given days."""

    def __init__(self, sandbox: Sandbox, chat: Loopback) -> None:
        self.sandbox, self.chat = sandbox, chat

    def at(self, night: int) -> datetime:
        return datetime.combine(FIRST + timedelta(days=night), NOON, ZoneInfo(ZONE))

    def night(self, number: int, plan: bool = False, **asked: object) -> Published:
        self.sandbox.set(today=FIRST + timedelta(days=number))
        before, output = len(self.chat.received), io.StringIO()
        job = Job("sync", SELECT, now=self.at(number), client=quick_client, metrics=Path("sync.prom"))
        job = replace(job, summary=Path(f"summary-{number}-{plan}.md"), **asked)  # type: ignore[arg-type]
        assert job.summary
        with redirect_stderr(output), redirect_stdout(output):
            try:
                code = run(job, plan)
            except Exception as error:
                code = None
                print(error)
        return Published(
            code,
            job.summary.read_text() if job.summary.exists() else "",
            Path("sync.prom").read_text() if Path("sync.prom").exists() else "",
            self.chat.received[before:],
            output.getvalue(),
        )


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("company")
    options = WorkspaceOptions(today=FIRST, time_zone=ZONE, campaign_shapes=("email",), api_key=KEY, **SIZES)
    with (
        pytest.MonkeyPatch.context() as patch,
        Sandbox(options) as sandbox,
        Loopback(lambda _: Reply(body=b"ok")) as chat,
    ):
        patch.chdir(folder)
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        settings = {
            "api_key": KEY,
            "endpoint": sandbox.url,
            "time_zone": ZONE,
            "start_date": sandbox.workspace.opened.isoformat(),
            "alert_webhook": f"{chat.url}/services/{TOKEN}",
        }
        for name, value in settings.items():
            patch.setenv(f"SOURCES__BRAZE__{name.upper()}", value)
        yield Company(sandbox, chat)


@pytest.fixture(scope="module")
def nights(company: Company) -> dict[str, Published]:
    """A plan, a good night, two on which the same campaign fails, one with a wrong key, one that is well again."""
    failing, later, _ = company.sandbox.workspace.campaigns
    said = {"plan": company.night(0, plan=True), "good": company.night(0)}
    company.sandbox.fail("/campaigns/data_series", "500", {"campaign_id": failing})
    said["partial"] = company.night(1)
    company.sandbox.fail("/campaigns/data_series", "500", {"campaign_id": later})
    said["still"] = company.night(2)
    said["refused"] = company.night(3, overrides={"api_key": WRONG_KEY})
    company.sandbox.mend()
    said["mended"] = company.night(4)
    return said


# The summary


def test_a_good_night_in_markdown(nights: dict[str, Published]) -> None:
    lines = nights["good"].summary.splitlines()
    assert lines[0] == "## braze-elt sync"
    assert lines[2] == "**All loaded.**"
    assert re.match(
        r"Started 2026-03-20 12:30 EDT, took \d+ s: \d+ requests, 0 retries, 0 refused \(429\), \d+ s", lines[4]
    )
    assert "| campaigns | 3 |" in lines
    rows = [
        int(count.replace(",", "")) for count in re.findall(r"^\| \w+ \| ([\d,]+) \|$", "\n".join(lines), re.MULTILINE)
    ]
    assert f"| **all** | **{sum(rows):,}** |" in lines
    assert "Failures" not in nights["good"].summary


def test_a_partial_night_names_what_failed(nights: dict[str, Published], company: Company) -> None:
    failing = next(iter(company.sandbox.workspace.campaigns))
    text = nights["partial"].summary
    assert "**Loaded, with failures: 1.**" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| campaign_series |")]
    assert f"| {failing} |" in row
    assert "500" in row


def test_a_failed_night_says_why(nights: dict[str, Published]) -> None:
    assert nights["refused"].code is None
    assert "**Failed.** Braze does not know the key in `api_key` (401)." in nights["refused"].summary


def test_the_plan_is_a_table_and_neither_metrics_nor_alert(nights: dict[str, Published]) -> None:
    plan = nights["plan"]
    assert (plan.code, plan.metrics, plan.alerts) == (0, "", [])
    assert "## braze-elt sync --plan" in plan.summary
    assert re.search(r"^\| /?campaigns/data_series \| 3 \| \d+ \| no wait \|$", plan.summary, re.MULTILINE)
    assert re.search(r"^\| \*\*all\*\* \| \*\*\d+\*\* \|", plan.summary, re.MULTILINE)


def test_a_verification_has_a_summary(nights: dict[str, Published], company: Company) -> None:
    file = Path("verify.md")
    job = Job("verify", "kpis", now=company.at(4), client=quick_client, summary=file)
    with redirect_stdout(io.StringIO()):
        assert run_verify(job, 1, "text") == 0
        assert run_verify(job, 1, "text", plan=True) == 0
    text = file.read_text()
    assert "**No differences found.**" in text
    assert re.search(r"^\| kpis \| 1 \| \d+ \| \d+ \| 0 \|$", text, re.MULTILINE)
    assert "## braze-elt verify --plan" in text, "it is added to the end"


def test_a_summary_that_cannot_be_written_changes_nothing_of_a_verification(
    nights: dict[str, Published], company: Company
) -> None:
    job = Job("verify", "kpis", now=company.at(4), client=quick_client, summary=Path("nowhere/verify.md"))
    log = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(log):
        assert run_verify(job, 1, "text") == 0
    assert "The summary could not be written to nowhere/verify.md" in log.getvalue()


def test_a_summary_is_appended(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    append_summary(file, run_summary(Outcome("sync", datetime.now(tz=UTC), status=Status.OK)))
    assert file.read_text().startswith("before\n## braze-elt sync\n")


A_FAILURE = Failure(
    "r", "events", "e", FIRST, FIRST, "events/data_series", 500, "m", datetime(2026, 3, 20, 7, tzinfo=UTC)
)


@given(st.text(min_size=1, max_size=12))
def test_names_from_braze_neither_break_the_table_nor_render(name: str) -> None:
    failure = replace(A_FAILURE, entity_id=name, message=f"{name} <img src=x> | x")
    text = run_summary(Outcome("sync", datetime.now(tz=UTC), status="partial", failures=[failure]))
    (row,) = [line for line in text.split("\n") if line.startswith("| events |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert "<" not in row


@pytest.mark.parametrize("option", ["--summary", "--metrics"])
def test_a_file_that_cannot_be_written_is_named_before_anything_is_done(workplace: Path, option: str) -> None:
    result = braze_elt("sync", option, "nowhere/file")
    assert result.exit_code == 2
    assert "nowhere/file cannot be written" in sentence(result)


# Metrics


def test_the_figures_of_a_run(nights: dict[str, Published], company: Company) -> None:
    good = nights["good"]
    assert good.value("run_status", status="ok", command="sync", destination="duckdb", dataset="braze") == 1
    assert good.value("run_status", status="failed") == 0
    assert good.value("run_rows", table="campaigns") == 3
    assert (good.value("run_requests") or 0) > 10
    assert (good.value("run_retries"), good.value("run_refused"), good.value("run_failures")) == (0, 0, 0)
    assert good.value("run_waited_seconds") is not None
    ended = good.value("last_run_timestamp_seconds") or 0
    assert good.value("last_success_timestamp_seconds") == ended
    assert ended == pytest.approx(company.at(0).timestamp() + (good.value("run_duration_seconds") or 0))
    midnight = datetime(2026, 3, 20, tzinfo=ZoneInfo(ZONE)).timestamp()
    assert good.value("newest_day_timestamp_seconds", table="kpi_daily") == midnight


def test_the_figures_of_a_run_with_failures(nights: dict[str, Published]) -> None:
    assert nights["partial"].value("run_status", status="partial") == 1
    assert nights["partial"].value("run_failures") == 1
    assert (nights["partial"].value("run_retries") or 0) > 0
    assert nights["still"].value("open_failures") == 2
    assert nights["mended"].value("open_failures") == 0


def test_a_run_that_failed_keeps_the_time_of_the_last_success(nights: dict[str, Published], company: Company) -> None:
    refused, still = nights["refused"], nights["still"]
    assert refused.value("run_status", status="failed") == 1
    assert refused.value("last_success_timestamp_seconds") == pytest.approx(
        still.value("last_success_timestamp_seconds")
    )
    assert (refused.value("last_run_timestamp_seconds") or 0) >= company.at(3).timestamp()
    midnight = datetime(2026, 3, 22, tzinfo=ZoneInfo(ZONE)).timestamp()
    assert refused.value("newest_day_timestamp_seconds", table="kpi_daily") == midnight


def test_without_a_warehouse_the_last_success_comes_from_the_file_before(tmp_path: Path) -> None:
    file, now = tmp_path / "sync.prom", datetime(2026, 3, 20, tzinfo=UTC)
    write_metrics(file, Job("sync"), Outcome("sync", now, status=Status.OK, finished_at=now), History())
    failed = Outcome("sync", now, status="failed", finished_at=now + timedelta(days=1))
    write_metrics(file, Job("sync"), failed, History())
    (line,) = [line for line in file.read_text().splitlines() if line.startswith("braze_elt_last_success")]
    assert float(line.split()[-1]) == now.timestamp()
    write_metrics(file, Job("sync", dataset="another"), failed, History())
    assert "last_success" not in file.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["sync.prom"]


# Alerts


def test_a_good_night_is_silent(nights: dict[str, Published]) -> None:
    assert nights["good"].alerts == []
    assert nights["mended"].alerts == []


def test_an_alert_is_one_message_of_text_only(nights: dict[str, Published]) -> None:
    (request,) = nights["partial"].alerts
    assert request.method == "POST"
    assert request.headers["Content-Type"] == "application/json"
    assert list(json.loads(request.body)) == ["text"]


def test_what_failed_since_when_and_where_to_look(nights: dict[str, Published], company: Company) -> None:
    failing, later, _ = company.sandbox.workspace.campaigns
    lines = nights["still"].alert.splitlines()
    assert lines[0] == "braze-elt sync into duckdb, dataset braze: loaded, but not everything."
    assert lines[1] == "What failed: campaign_series (2)"
    since = {line.split(" since ")[0]: line.split(" since ")[1] for line in lines if line.startswith("• ")}
    assert since[f"• campaign_series {failing},"].startswith("2026-03-21 12:30 EDT: ")
    assert since[f"• campaign_series {later},"].startswith("2026-03-22 12:30 EDT: ")
    assert lines[-3] == "Last sync without failures: 2026-03-20 12:30 EDT"
    assert lines[-2] == "What it means: everything else is loaded; the next run asks again for what failed."
    assert lines[-1] == "More: braze-elt status --destination duckdb --dataset braze"


def test_a_run_that_failed_says_why_and_when_the_last_one_loaded(nights: dict[str, Published]) -> None:
    lines = nights["refused"].alert.splitlines()
    assert lines[0] == "braze-elt sync into duckdb, dataset braze: the run failed."
    assert lines[1].startswith("What failed: Braze does not know the key in `api_key` (401).")
    assert lines[2] == "Last sync that loaded: 2026-03-22 12:30 EDT"


def test_neither_key_nor_webhook_nor_profiles_are_told(nights: dict[str, Published]) -> None:
    for name, night in nights.items():
        told = [night.output, night.summary, night.metrics, *(request.body.decode() for request in night.alerts)]
        for secret in (KEY, TOKEN, WRONG_KEY):
            assert not [text for text in told if secret in text], (name, secret)
    for secret in (KEY, TOKEN, WRONG_KEY):
        assert files_with(Path.cwd(), secret) == [], "nor kept in a file"


def test_settings_that_are_wrong_are_told_as_well(nights: dict[str, Published], company: Company) -> None:
    company.sandbox.log.reset()
    night = company.night(5, overrides={"lookback_days": "many"})
    assert night.code is None
    assert "What failed: `lookback_days` is 'many'" in night.alert
    assert "Last sync that loaded: 2026-03-24" in night.alert
    assert not company.sandbox.log.requests


def test_another_run_under_way_is_told_and_not_disturbed(nights: dict[str, Published], company: Company) -> None:
    """Its DuckDB file is not opened."""
    with FileLock("dlt/pipelines/braze.lock"):
        night = company.night(5)
    assert "Another run of the pipeline 'braze' is under way" in night.alert
    assert "Last sync that loaded: none known" in night.alert


REFUSALS = [
    (Reply(404), "HTTP 404"),
    (Reply(302, headers={"Location": "/"}), "HTTP 302"),
    (Reply(reset=True), "ConnectionError"),
    (None, "ConnectionError"),
]


@pytest.mark.parametrize(("reply", "says"), REFUSALS, ids=["gone", "moved", "reset", "down"])
def test_a_webhook_that_takes_nothing_changes_nothing_and_is_logged_without_its_url(
    nights: dict[str, Published], company: Company, reply: Reply | None, says: str
) -> None:
    with Loopback(lambda _: reply or Reply()) as down:
        if reply is None:
            down.close()
        night = company.night(5, overrides={"alert_webhook": f"{down.url}/{TOKEN}", "time_zone": "Nowhere"})
    assert night.code is None
    assert f"The alert was not delivered to `alert_webhook`: {says}." in night.output
    assert "`time_zone` is 'Nowhere'" in night.output, "what failed is said all the same"
    assert TOKEN not in night.output
    assert down.url.split("//")[1] not in night.output


def test_a_webhook_that_is_no_url_is_named_without_its_value(nights: dict[str, Published], company: Company) -> None:
    night = company.night(5, overrides={"alert_webhook": TOKEN})
    assert "`alert_webhook` is not a URL" in night.output
    assert TOKEN not in night.output


def test_names_from_braze_ping_nobody_and_the_rest_is_counted() -> None:
    failures = [replace(A_FAILURE, entity_id=f"<!channel> @all {number}\n", message="m" * 9_000) for number in range(9)]
    text = message(Job("sync"), Outcome("sync", datetime.now(tz=UTC), status="partial", failures=failures), History())
    assert not re.search("[<@]", text)
    assert "• events ‹!channel› ＠all 0, since 2026-03-20 07:00 UTC: mmm" in text
    assert "\n… and 4 more.\n" in text
    assert len(text) < 4_000, "Google Chat takes 4,096 characters"


def test_an_error_that_has_no_sentence_of_its_own_is_named_by_its_kind() -> None:
    outcome = Outcome("sync", datetime.now(tz=UTC), status="failed", error=KeyError("profile data"))
    assert "An unexpected error ended the run (KeyError)" in message(Job("sync"), outcome, History())
    assert "profile data" not in message(Job("sync"), outcome, History()) + run_summary(outcome)
