"""Logs on stderr: text, or one JSON object a line."""

import logging
import sys

import orjson


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message"}`, with the exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def configure_logging(log_format: str) -> None:
    """Send the logs of this product to stderr, in `text` or `json`; dlt's only when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter("%(message)s"))
    for name in ("sources", "destinations", "pipelines"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logging.getLogger("dlt").setLevel(logging.ERROR)
