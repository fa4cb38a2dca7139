"""`braze-elt demo`: a stand-in workspace, loaded and queried, in one command."""

import sys
from datetime import date, timedelta
from inspect import cleandoc
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import duckdb
from rich.table import Table

from destinations.errors import DestinationError
from pipelines.job import Job
from pipelines.outcome import ExitCode
from pipelines.run import run
from pipelines.terminal import stdout
from sources.braze.export_fields import REQUESTABLE
from sources.braze.tables import RESOURCES
from sources.braze_sandbox import Workspace

HISTORY_DAYS = 90
QUERIES = {
    "Campaigns by conversions in the last 30 days": """
        select c.name, sum(d.unique_recipients) as recipients, sum(d.conversions) as conversions,
               round(sum(d.revenue), 2) as revenue
        from braze.campaign_daily d join braze.campaigns c on c.id = d.campaign_id
        where d.date > current_date - 30
        group by all order by conversions desc limit 5""",
    "Deliverability by channel": """
        select channel, sum(sent)::bigint as sent, sum(delivered)::bigint as delivered, sum(bounces)::bigint as bounces,
               round(100.0 * sum(bounces) / nullif(sum(sent), 0), 2) as bounced_percent
        from braze.campaign_message_daily group by channel having sum(sent) > 0 order by sent desc""",
    "Stickiness: daily over monthly active users": """
        select date, dau, mau, round(100.0 * dau / nullif(mau, 0), 1) as stickiness_percent
        from braze.kpi_daily where app_id = '*' and date < current_date order by date desc limit 5""",
}


def run_demo(file: Path) -> ExitCode:
    """Start the sandbox in a process of its own, load it into `file`, print what is there and a few queries."""
    with Popen([sys.executable, "-m", "sources.braze_sandbox"], stdout=PIPE, text=True) as server:
        try:
            assert server.stdout
            url = server.stdout.readline().strip()
            job = Job(
                "sync", ",".join(RESOURCES), file=file, pipeline="braze_demo", overrides=demo_settings(url, Workspace())
            )
            code = run(job)
        except DestinationError as error:
            # What is amiss with the file is known by the setting that names it elsewhere.
            raise type(error)(str(error).replace("DESTINATION__DUCKDB__CREDENTIALS", "--file")) from None
        finally:
            server.terminate()
    if code == ExitCode.OK:
        _show(file)
    return code


def demo_settings(url: str, workspace: Workspace) -> dict[str, Any]:
    """Settings that let every table of the connector have rows: breakdowns, hours, sends, and a segment's profiles.

    All settings are among them: the demo goes by none that somebody made for a workspace of their own.
    """
    return {
        "api_key": "demo",
        "endpoint": url,
        "time_zone": "UTC",
        "start_date": date.today() - timedelta(days=HISTORY_DAYS),
        "lookback_days": 30,
        "concurrency": 16,
        "rate_reserve": 0.2,
        "hourly": True,
        "app_ids": list(workspace.apps),
        "segments": list(workspace.segments)[:1],
        "fields": sorted(REQUESTABLE),
        "pii": {"email": "hash", "phone": "drop", "last_name": "drop"},
        "pii_key": "demo",
        "export_bucket": "",
        "export_quiet_seconds": 300.0,
        "export_timeout_minutes": 240.0,
        "export_parallel": 4,
        "products": [],
        "message_bodies": True,
        "sends": [f"{campaign_id}:{send_id}" for campaign_id, send_id in workspace.sends],
        "sends_query": "",
        "sends_query_url": "",
        "alert_webhook": "",
    }


def _show(file: Path) -> None:
    console = stdout()
    with duckdb.connect(str(file), read_only=True) as connection:
        for title, sql in QUERIES.items():
            result = connection.execute(sql)
            rows = result.fetchall()
            table = Table()
            for place, (name, *_) in enumerate(result.description or ()):
                table.add_column(name, justify="right" if any(_is_number(row[place]) for row in rows) else "left")
            for row in rows:
                table.add_row(*map(_shown, row))
            console.print(f"\n{title}\n\n{cleandoc(sql)};\n", soft_wrap=True)
            console.print(table)
    console.print(f"\nThe workspace is in {file}, schema braze: open it with any DuckDB client.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if _is_number(value) else str(value)
