"""Logs on stderr: text, or one JSON object a line."""

import logging
import re
import sys

import click
import orjson

_JOB_FAILED = re.compile(r"(?P<kind>Transient|Terminal) exception in job (?P<table>\w+)")
"""How dlt begins to tell of a job that it will try again, or not."""
_JOB_GIVEN_UP = re.compile(r"Job for \S+ failed terminally")
"""How it tells of the latter once more, with a traceback."""


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


class OneLine(logging.Filter):
    """Hands dlt's records to `handler`, the errors in them as a line: what a warehouse refuses needs no traceback.

    What ends a run is said at its end. So of the jobs that fail there is one line a table.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._tables: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Take the record over: dlt's own handlers do not see it."""
        words = record.getMessage().partition("\n")[0]
        if _JOB_GIVEN_UP.match(words):
            return False
        if failed := _JOB_FAILED.match(words):
            if failed["table"] in self._tables:
                return False
            self._tables.add(failed["table"])
            words = f"{failed['table']} {'is tried again' if failed['kind'] == 'Transient' else 'is not loaded'}"
        if record.exc_info and record.exc_info[1]:
            # Loggers outlive all modules: what they know at the end of the process DuckDB's library counts as leaked.
            from destinations.refusals import first_line

            words += f": {first_line(record.exc_info[1])}"
        record.msg, record.args, record.exc_info, record.exc_text = words, None, None, None
        self._handler.handle(record)
        return False


def report(error: Exception) -> None:
    """Say on stderr what ended the command: as a line of JSON if logs are, as text otherwise."""
    logger = logging.getLogger(__name__)
    if any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger("pipelines").handlers):
        logger.error("%s", error)
    else:
        click.echo(f"Error: {error}", err=True)


def configure_logging(log_format: str) -> None:
    """Send the logs of this product to stderr, in `text` or `json`; dlt's only when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter("%(message)s"))
    for name in ("sources", "destinations", "pipelines"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    dlt = logging.getLogger("dlt")
    dlt.setLevel(logging.ERROR)
    dlt.filters[:] = [OneLine(handler)]
