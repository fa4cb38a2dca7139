"""The tutorial's commands, run as they stand in the page against a sandbox; what it shows is what they print."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.repository import REPOSITORY

PAGE = REPOSITORY / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```console(?P<title> title=[^\n]*)?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = "8000"
ELLIPSIS = "…"
EXIT_CODE = "echo $?"
DRAWN = re.compile(r"[\s─━┄┅┌┏└┗┐┓┘┛├┡┢┣┝┤┩┪┨┬┳┰┴┸┻┼╇╋╪═╞╡│┃|]+")
NUMBER = re.compile(r"[\d.,:+-]*\d[\d.,:+-]*")


class Step(NamedTuple):
    """A command and the lines that the page shows under it."""

    command: str
    shown: list[str]


def steps(body: str) -> Iterator[Step]:
    """The commands of a block: `$ ` begins one, `> ` goes on with it, anything else is what it printed."""
    command: list[str] = []
    shown: list[str] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            if command:
                yield Step("\n".join(command), shown)
            command, shown = [line[2:]], []
        elif line.startswith("> ") and not shown:
            command.append(line[2:])
        else:
            shown.append(line)
    yield Step("\n".join(command), shown)


def blocks(titled: bool) -> list[Step]:
    page = PAGE.read_text(encoding="utf-8")
    return [step for block in BLOCK.finditer(page) if bool(block["title"]) == titled for step in steps(block["body"])]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A shell's environment in which `braze-elt` and `python` are those of this test run, without settings."""
    folder = tmp_path_factory.mktemp("commands")
    command = folder / "braze-elt"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m pipelines "$@"\n')
    command.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DESTINATION__", "SOURCES__"))}
    places = [str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]
    return {
        **kept,
        "PATH": os.pathsep.join(places),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "COLUMNS": "100",
        "PYTHONUTF8": "1",
    }


@contextmanager
def first_terminal(environment: dict[str, str], folder: Path) -> Iterator[str]:
    """The sandbox as the page starts it, but at a free port, which is given; the line it prints is checked."""
    (step,) = blocks(titled=True)
    with subprocess.Popen(
        [*step.command.split(), "--port", "0"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as server:
        try:
            assert server.stdout
            line = server.stdout.readline()
            assert plain([line]) == plain(step.shown)
            yield re.findall(r":(\d+) ", line)[0]
        finally:
            server.terminate()


def printed(commands: list[str], environment: dict[str, str], folder: Path) -> list[list[str]]:
    """What each of these commands prints in one shell."""
    script = "\n".join(f"{command}\n__code=$?; printf '\\0'; (exit $__code)" for command in commands)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=240,
    )
    return [part.splitlines() for part in done.stdout.split("\0")[:-1]]


def plain(lines: list[str]) -> list[str]:
    """Lines without drawing and numbers, which are others on another day, and without empty ones."""
    texts = (DRAWN.sub(" ", NUMBER.sub("#", line)).strip() for line in lines)
    return [text for text in texts if text]


def as_shown(lines: list[str], shown: list[str]) -> bool:
    """Whether `lines` are those that are shown, where a line that is an ellipsis stands for any."""
    pattern = [".*" if line == ELLIPSIS else re.escape(line + "\n") for line in plain(shown)]
    return re.fullmatch("".join(pattern), "".join(line + "\n" for line in plain(lines)), re.DOTALL) is not None


@pytest.fixture(scope="module")
def run(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Step, list[str]]]:
    folder = tmp_path_factory.mktemp("tutorial")
    told = blocks(titled=False)
    with first_terminal(environment, folder) as port:
        outputs = printed([step.command.replace(PORT, port) for step in told], environment, folder)
    assert len(outputs) == len(told), outputs[-1]
    return list(zip(told, outputs, strict=True))


def test_every_command_of_the_tutorial_prints_what_the_page_shows(run: list[tuple[Step, list[str]]]) -> None:
    wrong = [
        "\n".join(["$ " + step.command, *plain(lines), "--- but the page shows ---", *plain(step.shown)])
        for step, lines in run
        if not (lines == step.shown if step.command == EXIT_CODE else as_shown(lines, step.shown))
    ]
    assert not wrong, "\n\n".join(wrong)


def test_the_tutorial_is_of_every_command_that_a_night_needs(run: list[tuple[Step, list[str]]]) -> None:
    commands = {step.command.split()[1] for step, _ in run if step.command.startswith("braze-elt ")}
    assert commands == {"backfill", "check", "status", "sync", "verify"}


@pytest.mark.parametrize(
    ("lines", "shown", "same"),
    [
        (["│ a │ 1,234 │", "", "b"], ["| a | 7 |", "b"], True),
        (["a", "x", "y", "b"], ["a", "…", "b"], True),
        (["a", "b"], ["a", "…", "b"], True),
        (["a", "b"], ["a"], False),
        (["a"], ["a", "b"], False),
        (["3 differences"], ["0 failures"], False),
    ],
)
def test_shown_lines_are_compared_but_for_numbers(lines: list[str], shown: list[str], same: bool) -> None:
    assert as_shown(lines, shown) is same
