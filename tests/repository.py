"""Where the repository is, and which settings nobody may write into it."""

from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
SECRET = {"api_key", "pii_key", "sends_query_url", "alert_webhook"}
