"""What Docker does when the role ran without a single variable, after a power cut."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from scenario import mistake, run_playbook, until

IMAGE = """
[ -z "$(docker image ls --quiet web)" ] || exit 0
apt-get install -qq --no-install-recommends busybox-static >/dev/null 2>&1
mkdir -p /root/image/www; cd /root/image; cp /bin/busybox .; echo served >www/index.html
cat >Dockerfile <<'END'
FROM scratch
COPY busybox /bin/busybox
COPY www /www
ENTRYPOINT ["/bin/busybox"]
CMD ["httpd", "-f", "-p", "80", "-h", "/www"]
END
docker build --quiet --tag web . >/dev/null 2>&1
"""
AGED = 10**9  # a time of first sight that is longer ago than any limit
SEEN = "/var/lib/shipshape/docker-prune.json"


@pytest.fixture(autouse=True)
def _as_root(host):
    with host.sudo():
        until(lambda: host.run("docker info").succeeded, 30, "an answer of the daemon")
        host.check_output(IMAGE)
        yield
        host.run("docker ps --all --quiet | xargs --no-run-if-empty docker rm --force")


@pytest.fixture
def web(host):
    host.check_output("docker rm --force web; docker run --detach --name web --publish 8080:80 web")
    until(lambda: served(host), 15, "the container is served")
    return "web"


def served(host):
    get = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8080/', timeout=2).read())"
    return host.run(f'python3 -c "{get}"').stdout.strip() == r"b'served\n'"


def inspect(host, name, form):
    return host.check_output(f"docker inspect --format {shlex.quote('{{json ' + form + '}}')} {name}")


def daemon(host):
    return host.check_output("systemctl show --property MainPID --value docker.service")


def container(host, name="web"):
    return inspect(host, name, ".State.Pid")


@pytest.fixture
def run(host, tmp_path):
    """Run tasks on this host alone: the tests of the other one have its containers."""

    def call(*tasks):
        play = tmp_path / "play.yml"
        play.write_text(json.dumps([{"hosts": "all", "become": True, "tasks": tasks}]), encoding="utf-8")
        done = run_playbook(play, "--limit", host.backend.get_pytest_id().rpartition("/")[2])
        assert done.returncode == 0, done.stdout

    return call


def role(**options):
    return {"ansible.builtin.include_role": {"name": "shipshape.stack.docker"}, "vars": options}


def release(host):
    return host.check_output("sh -c '. /etc/os-release; echo $VERSION_ID'")


def test_it_came_back_with_the_host(host):
    assert host.service("docker").is_enabled
    assert host.service("docker").is_running
    assert host.service("shipshape-docker-prune.timer").is_running


def test_a_container_runs_with_the_settings(host, web):
    logs = json.loads(inspect(host, web, ".HostConfig.LogConfig"))
    assert logs == {"Type": "json-file", "Config": {"max-file": "5", "max-size": "10m"}}
    # 1: not even a setuid file gives its processes more rights.
    assert host.check_output(f"docker exec {web} /bin/busybox grep NoNewPrivs /proc/self/status").split()[1] == "1"
    assert json.loads(inspect(host, web, ".NetworkSettings.Networks.bridge"))["Gateway"] == "172.17.0.1"
    assert "docker-proxy" not in host.check_output("ps -e -o args")


def test_logs_are_rotated(host):
    host.check_output(
        "docker run --name talker --entrypoint /bin/busybox --log-opt max-size=20k web"
        " sh -c 'i=0; while [ $i -lt 3000 ]; do echo some-line-of-a-log-$i; i=$((i+1)); done' >/dev/null"
    )
    path = json.loads(inspect(host, "talker", ".LogPath"))
    # Five files, as the daemon says, though the container gave itself another size.
    assert len(host.check_output(f"ls {path}*").split()) == 5


def test_networks_come_from_the_pools(host):
    for number in range(3):
        host.check_output(f"docker network create many{number}")
        subnet = host.check_output(
            f"docker network inspect many{number} --format '{{{{(index .IPAM.Config 0).Subnet}}}}'"
        )
        assert re.fullmatch(r"172[.]1[78][.][0-9]+[.]0/24", subnet)
    host.check_output("docker network rm many0 many1 many2")


def test_containers_of_the_default_network_do_not_reach_each_other(host, web):
    get = "docker run --rm --entrypoint /bin/busybox {} web nc -w 2 {} 80 </dev/null"
    address = json.loads(inspect(host, web, ".NetworkSettings.Networks.bridge.IPAddress"))
    assert not host.run(get.format("", address)).succeeded
    host.check_output("docker network create own && docker network connect own web")
    address = json.loads(inspect(host, web, ".NetworkSettings.Networks.own.IPAddress"))
    try:
        assert host.run(get.format("--network own", address)).succeeded
    finally:
        host.run("docker network disconnect own web; docker network rm own")


def test_compose_is_there_where_the_distribution_has_it(host):
    assert host.run("docker compose version").succeeded == (release(host) != "12")


def test_a_container_outlives_the_daemon(host, web):
    before = container(host)
    host.check_output("systemctl stop docker.socket docker.service")
    assert served(host)
    host.check_output("systemctl start docker.service")
    until(lambda: host.run("docker info").succeeded, 30, "an answer of the daemon")
    assert container(host) == before


def test_a_reload_is_enough_for_some_keys_and_a_restart_spares_containers(host, web, run):
    process, before = daemon(host), container(host)
    run(role(docker_daemon_options={"labels": ["rack=7"], "max-concurrent-downloads": 5}))
    assert "rack=7" in host.check_output("docker info --format '{{.Labels}}'")
    assert daemon(host) == process
    run(role(docker_log_max_size="11m"))
    assert daemon(host) != process
    assert host.check_output("docker info --format '{{.Labels}}'") == "[]"
    assert container(host) == before
    assert served(host)
    run(role())


REFUSED = [
    ({"docker_daemon_options": {"nonsense": 1}}, "nonsense"),
    ({"docker_daemon_options": {"mtu": "many"}}, "mtu"),
    # What only a start brings out.
    ({"docker_daemon_options": {"storage-driver": "nope"}}, "driver not supported"),
    ({"docker_data_root": "/srv/docker"}, "would be left behind in /var/lib/docker"),
    ({"docker_log_max_size": "much"}, "docker_log_max_size"),
    ({"docker_unknown": 1}, "docker_unknown is not an option"),
]
# Debian 12 has no compose, and says what to set.
REFUSED_BY_12 = [({"docker_compose": True}, "set docker_repository_url")]


def test_what_the_daemon_would_not_take_is_refused_and_the_old_one_serves(host, web, run):
    old, before = host.file("/etc/docker/daemon.json").content_string, container(host)
    refused = REFUSED + (REFUSED_BY_12 if release(host) == "12" else [])
    run(*(mistake("docker", options, reason) for options, reason in refused))
    assert host.file("/etc/docker/daemon.json").content_string == old
    assert container(host) == before
    assert served(host)
    assert host.check_output("docker info --format '{{.LoggingDriver}}'") == "json-file"


def prune(host):
    return host.check_output(
        "systemctl start shipshape-docker-prune.service; journalctl -u shipshape-docker-prune -o cat"
    )


def grow_old(host):
    """As if a week had passed since the last look."""
    host.check_output(f"sed -i -E 's/: [0-9.e+]+/: {AGED}/g' {SEEN}")


def names(host, kind, form):
    return set(
        host.check_output(f"docker {kind} ls {'--all' if kind == 'container' else ''} --format '{form}'").split()
    )


def test_pruning_leaves_volumes_and_what_belongs_to_an_app(host, web):
    label = "--label stack.shipshape.app=shop"
    build = (
        "cd /root/image && printf 'FROM web\\nLABEL n={0}\\n' | docker build --quiet --tag {0} {1} - >/dev/null 2>&1"
    )
    for name, more in (("unused", ""), ("shipshape/shop/web:1", ""), ("labelled", label), ("fresh", "")):
        host.check_output(build.format(name, more))
    host.check_output("docker volume create precious; docker network create idle; docker network create kept " + label)
    host.check_output("docker network create attached")
    host.check_output(f"docker create --name app {label} web; docker create --name recent --network attached web")
    host.check_output("docker run --name anonymous --volume /data web true")
    volumes = names(host, "volume", "{{.Name}}")
    assert len(volumes) >= 2
    # The first look only remembers, however old an image is by itself.
    prune(host)
    assert {"unused:latest", "fresh:latest"} <= names(host, "image", "{{.Repository}}:{{.Tag}}")
    grow_old(host)
    prune(host)
    # They were named a moment ago, and that is what counts.
    assert "unused:latest" in names(host, "image", "{{.Repository}}:{{.Tag}}")
    assert {"idle", "kept", "attached"} <= names(host, "network", "{{.Name}}")
    assert {"app", "recent", "anonymous", "web"} <= names(host, "container", "{{.Names}}")
    # Now with a clock that is a month ahead.
    host.check_output(
        "python3 -I - <<'END'\n"
        "import sys, runpy, datetime\n"
        "real = datetime.datetime\n"
        "class Later(real):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None):\n"
        "        return real.now(tz) + datetime.timedelta(days=31)\n"
        "datetime.datetime = Later\n"
        "kinds = ['containers', 'images', 'networks', 'build-cache']\n"
        "sys.argv = ['prune', '--hours', '168', *kinds]\n"
        "runpy.run_path('/usr/local/lib/shipshape/docker/prune.py', run_name='__main__')\n"
        "END"
    )
    assert names(host, "volume", "{{.Name}}") == volumes
    images = names(host, "image", "{{.Repository}}:{{.Tag}}")
    assert {"shipshape/shop/web:1", "labelled:latest", "web:latest"} <= images
    assert "unused:latest" not in images
    networks = names(host, "network", "{{.Name}}")
    assert "kept" in networks
    assert "idle" not in networks
    found = names(host, "container", "{{.Names}}")
    assert {"app", "web"} <= found
    assert not found & {"recent", "anonymous"}
    assert served(host)
    host.check_output("docker volume rm precious; docker network rm kept; docker rm app; docker rmi labelled")
