"""`python -m sources.braze_sandbox`: serve a workspace in a process of its own; prints the URL when it is ready."""

import argparse

import orjson

from sources.braze_sandbox.options import WorkspaceOptions
from sources.braze_sandbox.sandbox import parsed, serve


def main() -> None:
    """Read the command line and serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m sources.braze_sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--options", default="{}", help="WorkspaceOptions as JSON")
    arguments = parser.parse_args()
    options = {name: parsed(name, value) for name, value in orjson.loads(arguments.options).items()}
    serve(WorkspaceOptions(**options), arguments.port, arguments.host, lambda url: print(url, flush=True))


if __name__ == "__main__":
    main()
