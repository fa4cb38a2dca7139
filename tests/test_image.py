"""The image and the compose file, as far as they can be proved without Docker; `make image` runs the image's steps."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import process, waited_for
from tests.repository import REPOSITORY
from tests.warehouses import Warehouse

COMPOSE = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
CONNECTORS = ("nightly", "sandbox", "sandbox-nightly")


def given(value: str, **environment: str) -> str:
    """What compose makes of `${NAME:-default}`."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: environment.get(found[1], found[2]), value)


def health(metrics: Path, hours: int = 26) -> int:
    command = ["sh", str(REPOSITORY / "docker" / "healthy.sh")]
    environment = {"PATH": os.environ["PATH"], "METRICS": str(metrics), "MAX_AGE_HOURS": str(hours)}
    return subprocess.run(command, env=environment, check=False).returncode


# The image


def test_the_image_is_built_by_the_steps_that_ci_runs() -> None:
    (build,) = re.findall(r"^RUN (docker/image.sh .+)$", DOCKERFILE, re.MULTILINE)
    script = (REPOSITORY / "docker" / "image.sh").read_text()
    steps = re.findall(r"image\.sh (\w+)", build)
    assert steps
    for step in steps:
        assert re.search(rf"^{step}\(\) {{$", script, re.MULTILINE)
        assert re.search(rf'^    {step} "\$work', script, re.MULTILINE), f"check leaves {step} out"


def test_the_image_has_one_user_who_is_not_root_and_one_folder_to_write() -> None:
    last = DOCKERFILE.split("\nFROM ")[-1]
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^VOLUME (.+)$", last, re.MULTILINE) == ["/data"]
    written = re.findall(
        r"^ENV (?:HOME|DLT_DATA_DIR|DESTINATION__DUCKDB__CREDENTIALS|METRICS)=(.+)$", last, re.MULTILINE
    )
    assert len(written) == 4
    assert all(path.startswith("/data") for path in written)


def test_no_file_of_the_image_is_left_out_of_its_context() -> None:
    kept = re.findall(r"^!(.+)$", (REPOSITORY / ".dockerignore").read_text(), re.MULTILINE)
    script = (REPOSITORY / "docker" / "image.sh").read_text()
    needed = {*re.findall(r"\$repository/([\w.]+)", script), *re.findall(r"^COPY (docker)/", DOCKERFILE, re.MULTILINE)}
    assert needed == set(kept)
    assert all((REPOSITORY / name).exists() for name in kept)


@pytest.mark.parametrize(
    ("metrics", "code"),
    [
        ("", 1),
        ('braze_elt_run_status{status="failed"} 1.0\n', 1),
        ("braze_elt_last_success_timestamp_seconds{{command=\"sync\"}} {hour:e}\n", 0),
        ("braze_elt_last_success_timestamp_seconds{{command=\"sync\"}} {week:e}\n", 1),
    ],
    ids=["empty", "never", "an hour ago", "a week ago"],
)  # fmt: skip
def test_healthy_is_who_has_loaded_lately(tmp_path: Path, metrics: str, code: int) -> None:
    file, now = tmp_path / "sync.prom", time.time()
    text = metrics.format(hour=now - 3600, week=now - 7 * 86400) if "{{" in metrics else metrics
    file.write_text(text)
    assert health(file) == code


def test_healthy_is_who_has_not_run_yet(tmp_path: Path) -> None:
    assert health(tmp_path / "sync.prom") == 0


# Compose


def test_postgres_alone_needs_no_profile_and_the_others_have_one() -> None:
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert profiles == {
        "postgres": None,
        "nightly": ["nightly"],
        "sandbox": ["sandbox"],
        "sandbox-nightly": ["sandbox"],
    }


@pytest.mark.parametrize("name", CONNECTORS)
def test_every_connector_is_locked_in(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_schedule_is_one_expression() -> None:
    for name in ("nightly", "sandbox-nightly"):
        (cron,) = [argument for argument in SERVICES[name]["command"] if "cron" in argument]
        assert given(cron) == "--cron=15 3 * * *"
        assert given(cron, NIGHTLY_CRON="0 5 * * 1") == "--cron=0 5 * * 1"


def test_the_sandbox_loads_into_a_dataset_of_its_own() -> None:
    assert "--dataset=braze_sandbox" in SERVICES["sandbox-nightly"]["command"]
    assert not [argument for argument in SERVICES["nightly"]["command"] if "dataset" in argument]
    assert set(SERVICES["sandbox-nightly"]["volumes"]).isdisjoint(SERVICES["nightly"]["volumes"])


def test_the_sandbox_profile_loads_a_night_by_its_own_commands(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    """Its services' commands and environments; only the hosts, the port and the folder are this machine's."""
    service = SERVICES["sandbox-nightly"]
    with process(*SERVICES["sandbox"]["command"], "--port=0") as sandbox:
        assert sandbox.stdout
        url = re.search(r":(\d+)", sandbox.stdout.readline().split("//")[1])
        assert url
        for name, value in service["environment"].items():
            known = {"DESTINATION__POSTGRES__CREDENTIALS": postgres_url}
            monkeypatch.setenv(name, known.get(name, str(value).replace("sandbox:8000", f"127.0.0.1:{url[1]}")))
        command = [given(argument).replace("/data", str(workplace)) for argument in service["command"]]
        with process(*command) as schedule:
            metrics = workplace / "sync.prom"
            assert waited_for(metrics.exists, 120)
            assert health(metrics) == 0
            schedule.send_signal(signal.SIGTERM)
            assert schedule.wait(60) == 0
    warehouse = Warehouse("postgres", postgres_url)
    assert warehouse.query("SELECT status, failures FROM braze_sandbox.sync_runs") == [("ok", 0)]
    assert warehouse.query("SELECT count(*) > 1000 FROM braze_sandbox.campaign_message_daily") == [(True,)]
