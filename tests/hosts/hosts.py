"""Real systemd hosts for the demo, Molecule, the benchmarks and the fault tests, as podman containers.

  hosts image [--base IMAGE] [SUITE...]           build localhost/shipshape-host:SUITE
  hosts up --group NAME [options] HOST=SUITE...   start hosts (or return them) on one network
  hosts restart --group NAME [HOST...]            power-cycle hosts and wait until they are back
  hosts kill --group NAME [HOST...]               cut the power
  hosts run --group NAME HOST CMD...              run a command as root on a host, past ssh
  hosts list [--group NAME]                       what exists in this checkout
  hosts down --group NAME | --all                 remove hosts, network and keys

Connection files are left in .cache/hosts/NAME/: hosts.json, inventory.yml, ssh_config, id_ed25519, known_hosts.
Hosts are reached at their containers' addresses, so every port is real; names resolve between the hosts.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from hostlib import group, image, machine, plan


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    verb = verbs.add_parser("image")
    verb.add_argument("--base", default="", help="a registry's image to start from; or set SHIPSHAPE_BASE")
    verb.add_argument("--remove", action="store_true", help="remove the images instead")
    verb.add_argument("suites", nargs="*", default=list(image.SUITES), metavar="SUITE")

    verb = verbs.add_parser("up")
    verb.add_argument("--group", required=True)
    verb.add_argument("--json", action="store_true", help="print hosts.json")
    verb.add_argument("--inventory", type=pathlib.Path, metavar="FILE", help="write an Ansible inventory there too")
    verb.add_argument("--volume", action="append", default=[], help="as podman's, for every host")
    verb.add_argument("--publish", action="append", default=[], help="as podman's, for every host")
    verb.add_argument("hosts", nargs="+", metavar="HOST=SUITE_OR_IMAGE")

    for name in ("restart", "kill"):
        verb = verbs.add_parser(name)
        verb.add_argument("--group", required=True)
        verb.add_argument("hosts", nargs="*", metavar="HOST")

    verb = verbs.add_parser("run")
    verb.add_argument("--group", required=True)
    verb.add_argument("host")
    verb.add_argument("command", nargs=argparse.REMAINDER)

    verb = verbs.add_parser("list")
    verb.add_argument("--group")

    verb = verbs.add_parser("down")
    which = verb.add_mutually_exclusive_group(required=True)
    which.add_argument("--group")
    which.add_argument("--all", action="store_true")
    return parser.parse_args(argv)


def up(args: argparse.Namespace) -> None:
    chosen = group.Group(args.group)
    hosts = chosen.up(plan.parse_hosts(args.hosts), args.volume, args.publish)
    if args.inventory:
        args.inventory.write_text(plan.inventory(hosts), encoding="utf-8")
        machine.give_to_caller(args.inventory)
    if args.json:
        print(plan.as_json(args.group, hosts), end="")
        return
    for host in hosts:
        print(f"{host.name}: {host.address}, log in with: ssh -F {chosen.folder}/ssh_config {host.name}")


def main() -> None:
    args = parse(sys.argv[1:])
    machine.enter()
    if args.verb == "image" and args.remove:
        image.remove_all()
    elif args.verb == "image":
        image.build_all(args.suites, args.base)
    elif args.verb == "up":
        up(args)
    elif args.verb == "restart":
        group.Group(args.group).restart(args.hosts)
    elif args.verb == "kill":
        group.Group(args.group).kill(args.hosts)
    elif args.verb == "run":
        (host,) = group.Group(args.group).chosen([args.host])
        shut = "/usr/local/sbin/test-host-shut"  # else exec has what the host's own processes have lost
        os.execvp("podman", ["podman", "exec", "--interactive", host.container, shut, *args.command])
    elif args.verb == "list":
        for found in group.listing(*([f"shipshape.group={args.group}"] if args.group else [])):
            labels = found["Labels"]
            print(labels["shipshape.group"], labels["shipshape.host"], labels["shipshape.image"], found["State"])
    elif args.all:
        group.down_all()
    else:
        group.Group(args.group).down()


if __name__ == "__main__":
    try:
        main()
    except machine.HostsError as error:
        sys.exit(f"hosts: {error}")
