"""The command line: one file a verb. Arguments in, calls out, no logic.

Exit codes: 0 done; 1 finished, but something failed or diverged; 2 wrong use or bad input; 3 what was
asked for is not available here; 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click
from click.shell_completion import CompletionItem, add_completion_class

from edgecv import __version__
from edgecv.cli import completion, habits
from edgecv.errors import EdgeCVError
from edgecv.settings import ALL, TRACEBACK

INTERRUPTED = 130

# Verb -> its one-line help; the command itself is `command` in edgecv.cli.<verb>.
VERBS = {
    "detect": "Find objects in images, videos or a camera.",
    "classify": "Say what images, videos or a camera show, as a whole.",
    "eval": "Measure a model's accuracy on an annotated dataset.",
    "bench": "Measure a model's latency on this machine.",
    "verify": "Compare preprocessing and backends with the card's golden tensors, stage by stage.",
    "convert": "Turn a Caffe, Darknet or ONNX network into ONNX with a card.",
    "compile": "Compile a network for the simd engine, and tell what it became.",
    "scenes": "Render pictures of parts with their truth, a COCO data set.",
    "demo": "Detect parts on a generated belt, on every usable backend, and report.",
    "models": "List, show and pull models.",
    "backends": "Say which backends are usable here, and why the others are not.",
    "cache": "List or clear what was compiled and kept.",
}

add_completion_class(completion.Fish)


class _ReaderLeft(Exception):
    """Nobody reads stdout any more."""


class _Verbs(click.Group):
    """Verbs are imported when they are called, so that `edgecv --help` is quick on a small board."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # click would end the process with 1.
            raise _ReaderLeft from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs by the table, so that none is imported for it."""
        verbs = [
            CompletionItem(name, help=text) for name, text in VERBS.items() if name.startswith(incomplete)
        ]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click has it, with the verb that a misspelled one comes close to."""
        from difflib import get_close_matches

        name = args[0]
        close = [] if name in VERBS or name in habits.VERBS else get_close_matches(name, VERBS, n=1)
        if close:
            ctx.fail(f"No such command {name!r}. Did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command = import_module(f"edgecv.cli.{name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Environment"):
            formatter.write_dl([(setting.name, setting.help) for setting in ALL])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgecv")
@click.option("-v", "--verbose", is_flag=True, help="Say more of what is going on.")
def cli(verbose: bool) -> None:
    """Run object detectors with latency that you can bound, measure and trust."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="edgecv: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    for chatty in ("PIL", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. argv: arguments without the program's name. Returns the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        if line := habits.assignment(words):
            click.echo(f"edgecv: {line}", err=True)
            return 2
        # Verbs find what was typed as the context's object.
        code = cli.main(args=words, prog_name="edgecv", standalone_mode=False, obj=tuple(words))
    except EdgeCVError as error:
        if TRACEBACK.get():
            raise
        click.echo(f"edgecv: {error}", err=True)
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        if line := habits.hint(error, words):
            click.echo(f"edgecv: {line}", err=True)
        else:
            error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("edgecv: interrupted", err=True)
        return INTERRUPTED
    except (BrokenPipeError, _ReaderLeft):
        # The reader of our output left; what it wanted, it has. Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0
