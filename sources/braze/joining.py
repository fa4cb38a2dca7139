"""Series that each hold some columns of one table → the rows of that table. Pure, like `flatten.py`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain
from zoneinfo import ZoneInfo

from sources.braze.flatten import Series
from sources.braze.rows import Row, Sheet
from sources.braze.windows import local_day


@dataclass(frozen=True)
class Piece:
    """One of the series. Until `blank_until` its columns may be null before its first moment: it had not begun."""

    series: Series
    blank_until: date = date.max


def joined(table: str, moment: str, pieces: Iterable[Piece], zone: ZoneInfo) -> Series:
    """Pieces of `table`, all of one entity, whose column `moment` says when → one series by days of `zone`.

    Rows and days that lack a piece which had begun are left out: such a row would replace one that has it.
    """
    found = [_Found(piece, table, moment, zone) for piece in pieces]
    moments = sorted(set(chain(*(one.rows for one in found))))
    whole = [when for when in moments if all(one.knows(when) for one in found)]
    rows = Sheet(dict(chain(*(one.rows.get(when, {}).items() for one in found))) for when in whole)
    days = {day for one in found for day in one.days if all(other.knows_day(day) for other in found)}
    return Series({table: rows}, days, max((one.last_active for one in found if one.last_active), default=None))


class _Found:
    """The rows of a piece by moment, its days, and until when it had not begun."""

    def __init__(self, piece: Piece, table: str, moment: str, zone: ZoneInfo) -> None:
        self.rows: dict[date, Row] = {row[moment]: row for row in piece.series.rows[table]}
        self.days = piece.series.days
        self.last_active = piece.series.last_active
        self._first = min(self.rows, default=None)
        self._blank_until = piece.blank_until
        self._zone = zone

    def knows(self, moment: date) -> bool:
        """Whether the piece has a row of `moment`, or had not begun by then."""
        before = self._first is None or moment < self._first
        return moment in self.rows or (before and self._day(moment) <= self._blank_until)

    def knows_day(self, day: date) -> bool:
        """The same of a whole day."""
        before = self._first is None or day < self._day(self._first)
        return day in self.days or (before and day <= self._blank_until)

    def _day(self, moment: date) -> date:
        return local_day(moment, self._zone) if isinstance(moment, datetime) else moment
