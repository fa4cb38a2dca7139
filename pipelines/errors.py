"""What ends a command with exit code 1."""

from collections.abc import Iterator
from contextlib import contextmanager

from dlt.common.destination.exceptions import DestinationException
from dlt.pipeline.exceptions import PipelineStepFailed

from destinations.errors import DestinationError
from destinations.refusals import first_line, refuses_rows, sqlstate
from sources.braze.errors import BrazeError

_NAME_TAKEN = "See that nobody else's object has the name of one of the tables."
_LASTING = {
    "42501": "Let the user of the load own the tables of the dataset, or read and write all of them.",
    "42809": _NAME_TAKEN,
    "42P07": _NAME_TAKEN,
    "55000": _NAME_TAKEN,
}
"""What to do about refusals of Postgres that the next run would meet again, by SQLSTATE."""
_LASTING_FOR_ROWS = "See what somebody has added to the table or changed in it, such as a constraint."
_PASSING = {
    "53300": "Let the user of the load have more connections at a time, or set LOAD__WORKERS=1: each worker takes one.",
    "55P03": "End the session that keeps the table open.",
}
"""What to do about those that it need not meet."""


class RunFailed(Exception):
    """The run could not be completed; the sentence says why and what happens next."""


@contextmanager
def loading() -> Iterator[None]:
    """Turn what a warehouse or a disk refuses in the block into `RunFailed`; Ctrl-C stays what it is."""
    try:
        yield
    except (PipelineStepFailed, DestinationException, OSError) as failure:
        chain = list(_chain(failure))
        if any(isinstance(error, KeyboardInterrupt) for error in chain):
            raise KeyboardInterrupt from None  # dlt makes a failure of any exception
        cause = chain[-1]
        if not isinstance(failure, PipelineStepFailed) or failure.step in ("load", "sync"):
            raise RunFailed(_not_taken(cause)) from failure
        if isinstance(cause, OSError):
            raise RunFailed(
                f"What was to be loaded could not be written to disk: {first_line(cause)}. What was loaded before is"
                " complete; the next run asks for the rest again."
            ) from failure
        raise


def _not_taken(cause: BaseException) -> str:
    """What the warehouse refused, what to do about it, and when the rest is loaded."""
    code = sqlstate(cause)
    lasting = _LASTING_FOR_ROWS if refuses_rows(cause) else _LASTING.get(code, "")
    sentences = (
        f"The warehouse did not take the load: {first_line(cause)}.",
        lasting or _PASSING.get(code, ""),
        "What was loaded before is complete; the rest is kept and will be loaded first"
        f" {'once it is mended' if lasting else 'by the next run'}.",
    )
    return " ".join(filter(None, sentences))


def _chain(failure: BaseException) -> Iterator[BaseException]:
    """`failure` and the errors that led to it, the innermost last."""
    error: BaseException | None = failure
    while error:
        yield error
        error = error.__cause__ or error.__context__


def sentence_of(error: Exception) -> str:
    """What to tell others about `error`: its own sentence, or just its kind if its text was not written for that."""
    if isinstance(error, RunFailed | DestinationError | BrazeError):
        return str(error)
    return f"An unexpected error ended the run ({type(error).__name__}): its log has the details."
