"""Whose profiles an export is about, and what follows from it."""

from dataclasses import dataclass

from sources.braze.endpoints import USERS_EXPORT_GLOBAL_CONTROL_GROUP, USERS_EXPORT_SEGMENT, Endpoint
from sources.braze.model import Table
from sources.braze.profile_tables import GLOBAL_CONTROL_GROUP, GLOBAL_CONTROL_GROUP_MEMBERS, SEGMENT_MEMBERS


@dataclass(frozen=True)
class Audience:
    """Whose profiles are exported: a segment's, or the global control group's."""

    segment_id: str

    @property
    def is_control_group(self) -> bool:
        """Whether it is the global control group."""
        return self.segment_id == GLOBAL_CONTROL_GROUP

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that exports it."""
        return USERS_EXPORT_GLOBAL_CONTROL_GROUP if self.is_control_group else USERS_EXPORT_SEGMENT

    @property
    def members_table(self) -> Table:
        """The table of its members."""
        return GLOBAL_CONTROL_GROUP_MEMBERS if self.is_control_group else SEGMENT_MEMBERS
