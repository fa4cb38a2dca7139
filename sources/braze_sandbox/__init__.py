"""A stand-in Braze workspace over real HTTP on loopback, deterministic from a seed."""

from sources.braze_sandbox.options import RateLimit, WorkspaceOptions
from sources.braze_sandbox.sandbox import Sandbox, serve
from sources.braze_sandbox.totals import Scope
from sources.braze_sandbox.workspace import Workspace

__all__ = ["RateLimit", "Sandbox", "Scope", "Workspace", "WorkspaceOptions", "serve"]
