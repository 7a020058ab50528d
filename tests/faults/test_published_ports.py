"""Ports that Docker publishes, tried from outside: they obey the firewall, whatever happens to either of them.

Two neighbours try every host from four addresses each: a private and a public one, IPv4 and IPv6. Those of `friend` are
the ones that rules allow; `stranger` is in the same networks and is not to be served. Both have routes to the hosts'
containers, as anybody on the same network may have.
"""

from __future__ import annotations

import json
import re

import pytest

from .conftest import ROOT, Group, until

# Docker on two hosts and a neighbour for each kind; the scenario docker_full stands for it on every commit.
pytestmark = pytest.mark.nightly

DOCKERS = ("d12", "d13")
NEIGHBOURS = {"friend": 11, "stranger": 12}
CONTAINERS = {"d12": ("172.27", "fd00:d12"), "d13": ("172.17", "fd00:d13")}
SSH = {"rule": "allow", "proto": "tcp", "to_port": 22}
INSTALL = """
mkdir -p /etc/docker; echo '{daemon}' >/etc/docker/daemon.json
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null
apt-get install -qq --no-install-recommends docker.io {more} busybox-static iptables ufw >/tmp/apt.log 2>&1
mkdir /root/image && cd /root/image && cp /bin/busybox . && mkdir www && echo served >www/index.html
printf 'FROM scratch\\nCOPY busybox /bin/busybox\\nCOPY www /www\\n' >Dockerfile
printf 'ENTRYPOINT ["/bin/busybox"]\\nCMD ["httpd","-f","-p","80","-h","/www"]\\n' >>Dockerfile
docker build --quiet --tag web . >/dev/null 2>&1
docker network create other >/dev/null
docker run --detach --name peer --network other --restart always web >/dev/null
"""
RUN = "docker run --detach --name {name} --restart always --publish {ports} web >/dev/null"


def daemon_json(name: str, **settings) -> str:
    """Docker's settings. Debian 12 has its containers in a network of its own, for the neighbours' routes."""
    if name == "d12":
        settings["bip"] = f"{CONTAINERS[name][0]}.0.1/16"
    if settings.get("ipv6"):
        settings["fixed-cidr-v6"] = f"{CONTAINERS[name][1]}::/64"
    return json.dumps(settings)


class Dockers(Group):
    """Hosts with Docker, and the neighbours that try their ports."""

    def sources(self, neighbour: str) -> dict[str, str]:
        number = NEIGHBOURS[neighbour]
        return {
            "private": self.address(neighbour),
            "public": f"203.0.113.{number}",
            "private6": self.address(neighbour, "address6"),
            "public6": f"2001:db8:5::{number}",
        }

    def connect(self, *names: str) -> None:
        """Addresses and routes, which a restart takes away."""
        scripts = {}
        for name in names or self.names:
            lines = [
                "ip route replace 203.0.113.0/24 dev eth0",
                "ip -6 route replace 2001:db8:5::/64 dev eth0",
            ]
            if name in NEIGHBOURS:
                own = self.sources(name)
                lines += [f"ip address replace {own['public']}/32 dev eth0"]
                lines += [f"ip address replace {own['public6']}/128 dev eth0 nodad"]
                for docker, (v4, v6) in CONTAINERS.items():
                    lines += [f"ip route replace {v4}.0.0/16 via {self.address(docker)}"]
                    lines += [f"ip route replace {v6}::/64 via {self.address(docker, 'address6')}"]
            scripts[name] = "\n".join(lines)
        self.shells(scripts)

    def daemon(self, **settings) -> None:
        """Start Docker anew with these settings."""
        start = "echo '{}' >/etc/docker/daemon.json; systemctl restart docker"
        self.shells({name: start.format(daemon_json(name, **settings)) for name in DOCKERS})
        self.wait_served()

    def wait_served(self) -> None:
        for name in DOCKERS:
            until(lambda name=name: self.served(name), 20, f"the container of {name} is served on the host itself")

    def served(self, name: str, port: int = 8080) -> bool:
        # Debian 12's busybox does not survive a wget on the host.
        get = f"from urllib.request import urlopen; print(urlopen('http://127.0.0.1:{port}/', timeout=2).read())"
        return self.shell(name, f'python3 -c "{get}" 2>/dev/null || true') == "b'served\\n'\n"

    def container(self, name: str) -> list[str]:
        """The container's own addresses."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}"
        return self.shell(name, f"docker inspect --format '{form}' web").split()

    def reached(self, ports: str = "22,80,8080") -> dict[str, set[str]]:
        """By host: who gets through where to, as 'friend private 8080'; ports of the container are 'container:80'."""
        names = {self.address(name, field): (name, "") for name in DOCKERS for field in ("address", "address6")}
        names |= {address: (name, "container:") for name in DOCKERS for address in self.container(name)}
        scripts, labels = {}, {}
        for neighbour in NEIGHBOURS:
            own = self.sources(neighbour)
            labels |= {address: f"{neighbour} {label}" for label, address in own.items()}
            words = " ".join([*(f"--from {address}" for address in own.values()), *names])
            scripts[neighbour] = f"python3 /root/published --seconds 1.5 --shut {ports} {words} || [ $? = 1 ]"
        found: dict[str, set[str]] = {name: set() for name in DOCKERS}
        lines = [line for output in self.shells(scripts).values() for line in output.splitlines()]
        assert len(lines) == len(NEIGHBOURS) * 2 * len(names) * len(ports.split(","))
        for address, port, source in re.findall(r"(\S+) port (\d+) answers \(from (.*)\)", "\n".join(lines)):
            name, where = names[address]
            found[name].add(f"{labels[source]} {where}{port}")
        return found

    def firewall(self, *rules, check: str | None = None, **params):
        """The module on both Docker hosts; ports that Docker publishes obey."""
        task = {"state": "enabled", "default": {"incoming": "deny", "outgoing": "allow", "routed": "deny"}}
        task |= {"logging": "low", "published": True, "rules": [SSH, *rules], **params}
        play = [
            {
                "hosts": ",".join(DOCKERS),
                "gather_facts": False,
                "become": True,
                "tasks": [{"shipshape.stack.ufw_ruleset": task}],
            }
        ]
        run = self.play(play)
        assert run.code == 0, run.output
        return [run.changed(name) for name in DOCKERS]

    def allow(self, port: int | str) -> dict:
        return {
            "rule": "allow",
            "proto": "tcp",
            "to_port": port,
            "from_ip": list(self.sources("friend").values()),
        }


def all_of(*words: str) -> set[str]:
    """'friend 8080' stands for all four addresses, 'friend 8080 v4' for two of them."""
    found = set()
    for word in words:
        neighbour, port, *family = word.split()
        labels = ["private", "public"] if family != ["v6"] else []
        labels += ["private6", "public6"] if family != ["v4"] else []
        found |= {f"{neighbour} {label} {port}" for label in labels}
    return found


SSH_ONLY = all_of("friend 22", "stranger 22")
FRIEND_SERVED = SSH_ONLY | all_of("friend 8080")


def prepare(group: Dockers) -> None:
    """Docker with a container, neighbours with the script, routes everywhere."""
    script = (ROOT / "tests/grade/published").read_text(encoding="utf-8")
    clients = {"d12": "", "d13": "docker-cli"}
    scripts = {name: INSTALL.format(daemon=daemon_json(name), more=more) for name, more in clients.items()}
    for name in NEIGHBOURS:
        scripts[name] = (
            f"cat >/root/published <<'END-OF-SCRIPT'\n{script}\nEND-OF-SCRIPT\n"
            " systemd-run --quiet --unit=outside python3 -m http.server --bind :: 7000"
        )
    group.shells(scripts)
    group.connect()
    group.shells(dict.fromkeys(DOCKERS, RUN.format(name="web", ports="8080:80")))
    group.wait_served()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    names = {"d12": "bookworm", "d13": "trixie", **dict.fromkeys(NEIGHBOURS, "trixie")}
    volumes = ["--volume", "/var/lib/docker", "--volume", "/var/lib/containerd"]
    group = Dockers("faults-published-ports", tmp_path_factory.mktemp("f"), *volumes, **names)
    try:
        prepare(group)
        yield group
    finally:
        group.down()


def assert_reached(hosts, wanted: set[str]) -> None:
    assert hosts.reached() == dict.fromkeys(DOCKERS, wanted)


def test_docker_by_itself_ignores_the_firewall(hosts):
    """The fault is real: without this the tests below would prove nothing."""
    by_hand = "ufw allow 22/tcp; ufw default deny incoming; ufw deny 8080; ufw --force enable"
    hosts.shells(dict.fromkeys(DOCKERS, f"({by_hand}) >/dev/null"))
    open_to_all = all_of("friend 8080 v4", "stranger 8080 v4", "friend container:80 v4", "stranger container:80 v4")
    assert_reached(hosts, SSH_ONLY | open_to_all)
    hosts.shells(dict.fromkeys(DOCKERS, "ufw delete deny 8080 >/dev/null"))


def test_published_ports_obey_the_rules(hosts):
    hosts.firewall()
    assert_reached(hosts, SSH_ONLY)
    # A rule is about the port that was called: one for 80 opens neither the container's port 80 nor 8080.
    hosts.firewall({"rule": "allow", "proto": "tcp", "to_port": 80})
    assert_reached(hosts, SSH_ONLY)
    hosts.firewall(hosts.allow(8080))
    assert_reached(hosts, FRIEND_SERVED)
    assert hosts.firewall(hosts.allow(8080)) == [0, 0]


def test_the_command_for_users_says_it_by_its_exit_status(hosts):
    """tests/grade/published, as one would call it on a machine of one's own."""
    address = hosts.address("d13")
    for neighbour, words, status in (
        ("friend", "--open 22,8080 --shut 80,5432", 0),
        ("stranger", "--open 22 --shut 8080", 0),
        ("stranger", "--open 22,8080", 1),
        ("friend", "--shut 8080", 1),
        ("friend", "--shut 8080 --from 198.51.100.1", 2),
        ("friend", "--shut 8080 --from 2001:db8:5::11", 2),
    ):
        said = hosts.shell(neighbour, f"python3 /root/published {words} {address} 2>&1 && echo 0 || echo $?").split()
        assert said[-1] == str(status), said


EVENTS = [
    pytest.param("ufw reload >/dev/null", id="ufw-reload"),
    pytest.param("systemctl restart ufw", id="ufw-restarted"),
    pytest.param("systemctl restart docker", id="docker-restarted"),
    pytest.param(f"docker rm --force web >/dev/null; {RUN.format(name='web', ports='8080:80')}", id="recreated"),
    pytest.param("host", id="host-restarted"),
]


@pytest.mark.parametrize("event", EVENTS)
def test_it_stays_so(hosts, event):
    if event == "host":
        hosts.restart(*DOCKERS)
        hosts.connect(*DOCKERS)
    else:
        hosts.shells(dict.fromkeys(DOCKERS, event))
    hosts.wait_served()
    assert_reached(hosts, FRIEND_SERVED)
    assert hosts.firewall(hosts.allow(8080)) == [0, 0]


def test_what_must_work_works(hosts):
    outside = hosts.address("stranger")
    for name in DOCKERS:
        assert hosts.can_log_in(name)
        assert hosts.served(name)
        # Not with wget, which Debian 12's busybox does not survive.
        for words, target in (
            ("docker exec --interactive web /bin/busybox", f"{outside} 7000"),
            ("docker run --rm --interactive --network other web", "peer 80"),
        ):
            said = hosts.shell(name, f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | {words} nc -w 5 {target}")
            assert " 200 OK" in said


def test_rules_are_tried_in_their_order_for_containers_too(hosts):
    stranger = list(hosts.sources("stranger").values())
    everybody = {"rule": "allow", "proto": "tcp", "to_port": 8080}
    for rule in ("deny", "reject"):
        hosts.firewall({**everybody, "rule": rule, "from_ip": stranger}, everybody)
        assert_reached(hosts, FRIEND_SERVED)
    hosts.firewall({**everybody, "rule": "limit"})
    tries = (
        "for i in 1 2 3 4 5 6 7 8 9; do python3 /root/published --seconds 1 --open 8080 {}; done | grep -c ok || true"
    )
    for name in DOCKERS:  # ufw's limit: the sixth connection within 30 s is one too many
        found = hosts.shells(dict.fromkeys(NEIGHBOURS, tries.format(hosts.address(name))))
        assert found == {"friend": "5\n", "stranger": "5\n"}
    hosts.firewall(hosts.allow(8080))
    assert_reached(hosts, FRIEND_SERVED)


def test_several_ports_and_protocols(hosts):
    more = RUN.format(name="more", ports="8081:80 --publish 8085:80 --publish 8090:80")
    hosts.shells(dict.fromkeys(DOCKERS, more))
    hosts.firewall(hosts.allow(8080), hosts.allow("8081,8084:8086"), {**hosts.allow(8090), "proto": "udp"})
    found = hosts.reached("8080,8081,8085,8090")
    hosts.shells(dict.fromkeys(DOCKERS, "docker rm --force more >/dev/null"))
    assert found == dict.fromkeys(DOCKERS, all_of("friend 8080", "friend 8081", "friend 8085"))


def test_rules_of_others_in_dockers_chain_survive(hosts):
    foreign = "-s 192.0.2.66/32 -j DROP"
    hosts.shells(dict.fromkeys(DOCKERS, f"iptables --insert DOCKER-USER {foreign}"))
    hosts.firewall(hosts.allow(8080), published=False)
    assert hosts.firewall(hosts.allow(8080), hosts.allow(8081)) == [1, 1]
    assert hosts.firewall(hosts.allow(8080), hosts.allow(8081)) == [0, 0]
    for rules in hosts.shells(dict.fromkeys(DOCKERS, "iptables --list-rules DOCKER-USER")).values():
        assert rules.count(foreign) == 1
        assert rules.count("-j shipshape-published") == 1
    hosts.shells(dict.fromkeys(DOCKERS, f"iptables --delete DOCKER-USER {foreign}"))


IPV6 = {"ipv6": True, "ip6tables": True, "experimental": True}


def test_published_over_ipv6_by_docker_itself(hosts):
    """Docker rewrites IPv6 addresses, too. The chain that it asks first came to IPv6 after Debian 12's version."""
    hosts.firewall(hosts.allow(8080), published=False)
    hosts.daemon(**IPV6)
    open_to_all = all_of("friend 8080", "stranger 8080", "friend container:80", "stranger container:80")
    assert hosts.reached()["d13"] == SSH_ONLY | open_to_all
    hosts.firewall(hosts.allow(8080))
    assert hosts.reached()["d13"] == FRIEND_SERVED


def test_without_dockers_proxy(hosts):
    hosts.daemon(**IPV6, **{"userland-proxy": False})
    assert hosts.reached()["d13"] == FRIEND_SERVED
    assert hosts.firewall(hosts.allow(8080)) == [0, 0]
    hosts.firewall()
    assert hosts.reached()["d13"] == SSH_ONLY


@pytest.mark.xfail(strict=True, reason="Docker 20.10 has no DOCKER-USER for IPv6, so nothing holds it there")
def test_published_over_ipv6_by_docker_20(hosts):
    assert hosts.reached()["d12"] == SSH_ONLY


def test_disabled_opens_everything_again(hosts):
    assert hosts.firewall(hosts.allow(8080), state="disabled") == [1, 1]
    open_to_all = all_of("friend 8080", "stranger 8080", "friend container:80", "stranger container:80")
    assert_reached(hosts, SSH_ONLY | open_to_all)
    assert hosts.firewall(hosts.allow(8080), state="disabled") == [0, 0]
    hosts.shells(dict.fromkeys(DOCKERS, "docker rm --force web >/dev/null"))
