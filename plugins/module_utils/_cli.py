# Copyright: (c) 2026, The shipshape.stack maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host command `shipshape`: one parser, one verb per file.

Runs where there is no controller (cron, an operator at night), so: standard library only, one clear line for what the
user got wrong, and exit status 3 for that alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, Optional

from . import _cli_backup, _cli_health, _cli_restore

VERSION = "0.1.0"
USAGE_ERROR = 3
# A verb is a module with NAME, HELP, configure(parser) and run(arguments) -> exit status. What the user got wrong
# (arguments, configuration) it raises as ValueError or OSError.
VERBS = (_cli_health, _cli_backup, _cli_restore)


class _Parser(argparse.ArgumentParser):
    """argparse leaves with 2, which means unhealthy here, and prints the usage before the error."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    top = _Parser(prog="shipshape", description="Look after this host.")
    top.add_argument("--version", action="version", version=f"shipshape {VERSION}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        own = verbs.add_parser(verb.NAME, help=verb.HELP, description=verb.HELP, epilog=verb.EPILOG)
        verb.configure(own)
        own.set_defaults(run=verb.run)
    return top


def main(argv: Optional[Sequence[str]] = None) -> int:
    try:
        arguments = parser().parse_args(argv)
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except SystemExit as exc:  # --help, --version and wrong arguments.
        return int(exc.code or 0)
    except BrokenPipeError:  # `shipshape health | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as exc:
        sys.stderr.write(f"shipshape: {' '.join(str(exc).split())}\n")
        return USAGE_ERROR


if __name__ == "__main__":
    raise SystemExit(main())
