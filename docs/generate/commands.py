"""The page of commands, from their click declarations."""

import click

from docs.generate.markdown import code, grid
from pipelines.cli import cli

PROGRAM = "braze-elt"


def page() -> str:
    """Every command with its usage and options."""
    root = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
    parts = [
        "# Commands",
        "Generated from the code by `make docs`; `braze-elt COMMAND --help` says the same.",
        "Results go to stdout, logs and progress to stderr. [Exit codes](exit-codes.md) are the same for all commands.",
    ]
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command
        parts.append(_command(command, click.Context(command, info_name=name, parent=root)))
    return "\n\n".join(parts) + "\n"


def _command(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    records = [record for option in command.get_params(context) if (record := option.get_help_record(context))]
    rows = [(code(names), meaning.replace("[", "\\[")) for names, meaning in records]
    return "\n\n".join(
        [f"## {command.name}", command.help or "", f"```text\n{usage}\n```", grid(("option", "meaning"), rows)]
    )
