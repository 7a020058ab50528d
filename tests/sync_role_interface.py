"""Write roles/*/defaults/main.yml from roles/*/meta/argument_specs.yml, the single source of a role's interface.

ansible-core validates a role's arguments but takes no defaults from their specification, so the two would drift
apart. Without arguments the files are written; with --check nothing is, and a difference is an error.
"""

from __future__ import annotations

import difflib
import pathlib
import sys
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = "---\n# Generated from meta/argument_specs.yml by tests/sync_role_interface.py: change it there.\n"


class Dumper(yaml.SafeDumper):
    """Indents lists below their key, as yamllint and ansible-lint ask."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # Where YAML has to quote, or Jinja stands inside, the quotes are double ones, as ansible-lint asks.
    if "\n" in value:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|")
    quoted = "{{" in value or yaml.safe_dump(value).startswith("'")
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if quoted else None)


Dumper.add_representer(str, _string)


def defaults_of(specs: dict[str, Any]) -> dict[str, Any]:
    """Every default of every entry point; two entry points may not give one option two defaults."""
    found: dict[str, Any] = {}
    for entry_point, spec in specs["argument_specs"].items():
        for name, option in spec.get("options", {}).items():
            if "default" not in option:
                continue
            if found.setdefault(name, option["default"]) != option["default"]:
                raise SystemExit(f"{name}: the entry point {entry_point} gives it another default; use one")
    return found


def render(specs: dict[str, Any]) -> str:
    """The text of defaults/main.yml."""
    found = defaults_of(specs)
    if not found:
        return HEADER + "{}\n"
    return HEADER + yaml.dump(found, Dumper=Dumper, sort_keys=False, width=110, allow_unicode=True)


def main(arguments: list[str]) -> int:
    """Write or check every role; the number of files that differ is the failure."""
    check = "--check" in arguments
    differing = 0
    for source in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        target = source.parent.parent / "defaults/main.yml"
        wanted = render(yaml.safe_load(source.read_text(encoding="utf-8")))
        found = target.read_text(encoding="utf-8") if target.exists() else ""
        if wanted == found:
            continue
        differing += 1
        if check:
            name = str(target.relative_to(ROOT))
            sys.stdout.writelines(
                difflib.unified_diff(found.splitlines(True), wanted.splitlines(True), name, name + " (generated)")
            )
        else:
            target.parent.mkdir(exist_ok=True)
            target.write_text(wanted, encoding="utf-8")
            print(f"wrote {target.relative_to(ROOT)}")
    if check and differing:
        print(f"{differing} role(s) differ from their argument_specs: run tests/sync_role_interface.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
