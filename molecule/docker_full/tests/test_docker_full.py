"""Every option of the role shows in what Docker really does."""

from __future__ import annotations

import json
import os
import pathlib

import pytest
import yaml
from scenario import mistake, run_playbook, until

ROOT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = pathlib.Path(__file__).resolve().parents[1]
SPECS = ROOT / "roles/docker/meta/argument_specs.yml"
PASSWORD = "correct-horse-battery"
WRONG = "wrong-horse-battery"
LOGIN = "docker --config /root/.docker login"
# The registry says nothing until a login of the role has been seen: a busy host might look away for all of it.
WATCH = """
registry=$(systemctl show --property MainPID --value docker-registry.service)
kill -STOP "$registry"
{ until grep -q '[d]ocker --config /root/.docker login' /root/seen; do sleep 0.1; done; kill -CONT "$registry"; } &
while :; do
    for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do tr '\\0' ' ' <"$file" 2>/dev/null && echo; done
    sleep 0.05
done | grep --line-buffered -a -E 'docker.*(log|conf)|horse'
"""


@pytest.fixture(autouse=True)
def _as_root(host):
    with host.sudo():
        until(lambda: host.run("docker info").succeeded, 30, "an answer of the daemon")
        yield


@pytest.fixture
def run(host, tmp_path):
    def call(*tasks):
        play = tmp_path / "play.yml"
        play.write_text(json.dumps([{"hosts": "all", "become": True, "tasks": tasks}]), encoding="utf-8")
        return run_playbook(play, "-vv", "--limit", host.backend.get_pytest_id().rpartition("/")[2])

    return call


def role(**options):
    return {"ansible.builtin.include_role": {"name": "shipshape.stack.docker"}, "vars": options}


def info(host):
    return json.loads(host.check_output("docker info --format '{{json .}}'"))


def logins(host):
    return json.loads(host.file("/root/.docker/config.json").content_string)["auths"]


def test_every_option_of_the_role_is_set_in_this_scenario():
    options = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    inventory = yaml.safe_load((SCENARIO / "molecule.yml").read_text(encoding="utf-8"))["provisioner"]["inventory"]
    given = [inventory["group_vars"]["all"], *inventory["host_vars"].values()]
    assert {name for each in given for name in each} == set(options)


def test_the_packages_come_from_the_repository_and_nothing_else_does(host):
    assert host.package("docker.io").version.endswith("+shop1")
    assert not host.package("docker-buildx").is_installed
    assert "Docker Compose version" in host.check_output("docker compose version")
    assert host.check_output("apt-cache policy hello | sed -n 's/ *Candidate: //p'") != "99"


def test_the_daemon_has_the_settings(host):
    found = info(host)
    assert found["DockerRootDir"] == "/srv/docker"
    assert found["LoggingDriver"] == "local"
    assert found["LiveRestoreEnabled"] is False
    assert found["Labels"] == ["rack=7"]
    assert found["DefaultAddressPools"] == [{"Base": "172.20.0.0/16", "Size": 26}]
    assert found["RegistryConfig"]["Mirrors"] == ["https://mirror.example.org/"]
    assert found["RegistryConfig"]["IndexConfigs"]["registry.example.org:5000"]["Secure"] is False
    network = json.loads(host.check_output("docker network inspect bridge"))[0]
    assert network["EnableIPv6"] is True
    assert {each["Subnet"] for each in network["IPAM"]["Config"]} == {"172.20.0.0/26", "fd00:17::/64"}
    assert network["Options"]["com.docker.network.bridge.enable_icc"] == "true"


def test_a_container_has_the_settings(host):
    host.check_output(
        "mkdir -p /root/image && cd /root/image && cp /bin/busybox ."
        " && printf 'FROM scratch\\nCOPY busybox /bin/busybox\\n' >Dockerfile"
        " && docker build --quiet --tag web . >/dev/null 2>&1"
    )
    busybox = "docker run --rm --entrypoint /bin/busybox web"
    assert host.check_output(f"{busybox} grep NoNewPrivs /proc/self/status").split()[1] == "0"
    assert "nameserver 192.0.2.53" in host.check_output(f"{busybox} cat /etc/resolv.conf")
    assert "fd00:17:" in host.check_output(f"{busybox} ip -6 address show")
    host.check_output("docker run --detach --name web --publish 8080:80 --entrypoint /bin/busybox web sleep 100")
    logs = json.loads(host.check_output("docker inspect --format '{{json .HostConfig.LogConfig}}' web"))
    assert logs == {"Type": "local", "Config": {"max-file": "2", "max-size": "1m"}}
    assert "docker-proxy" in host.check_output("ps -e -o args")
    host.check_output("docker rm --force web")


def test_the_user_uses_docker(host):
    assert "docker" in host.user("admin").groups


def test_the_timer_has_its_time_and_kinds(host):
    assert "Mon *-*-* 04:00:00" in host.check_output(
        "systemctl show --property TimersCalendar shipshape-docker-prune.timer"
    )
    command = host.check_output("systemctl show --property ExecStart shipshape-docker-prune.service")
    assert "--hours 24 images ;" in command


def test_root_is_logged_in_and_out(host):
    assert set(logins(host)) == {"127.0.0.1:5000"}
    assert host.file("/root/.docker/config.json").mode == 0o600
    # The registry takes it, and nobody without.
    host.check_output("docker tag web 127.0.0.1:5000/web && docker push --quiet 127.0.0.1:5000/web")
    assert not host.run("docker --config /tmp/nobody pull 127.0.0.1:5000/web").succeeded
    host.check_output("docker rmi 127.0.0.1:5000/web && docker pull --quiet 127.0.0.1:5000/web")


def test_a_password_appears_nowhere(host, run):
    """Each process of the host is looked at twenty times a second while the role logs in."""
    host.check_output(f"docker logout 127.0.0.1:5000; cat >/root/watch <<'END'\n{WATCH}\nEND")
    host.check_output("systemd-run --quiet --unit=watch --property=StandardOutput=file:/root/seen sh /root/watch")
    done = run(role())
    assert done.returncode == 0, done.stdout
    assert "127.0.0.1:5000" in logins(host)
    refused = run(role(docker_registry_passwords={"127.0.0.1:5000": WRONG}))
    host.check_output("systemctl stop watch.service")
    assert "127.0.0.1:5000 refuses the login of deploy" in " ".join((refused.stdout + refused.stderr).split())
    assert set(logins(host)) == {"127.0.0.1:5000"}
    seen = host.check_output("cat /root/seen")
    assert LOGIN in seen
    journal = host.check_output("journalctl --no-pager --output=cat")
    for text in (seen, journal, done.stdout, done.stderr, refused.stdout, refused.stderr):
        assert PASSWORD not in text
        assert WRONG not in text


def test_a_wrong_source_is_refused_and_the_old_one_stays(host, run):
    source = "/etc/apt/sources.list.d/shipshape-docker.sources"
    old = host.file(source).content_string
    stranger = host.file("/srv/apt/stranger.asc").content_string
    done = run(
        mistake("docker", {"docker_repository_key": stranger}, "signature"),
        mistake("docker", {"docker_repository_url": "http://127.0.0.1:8088/nowhere"}, "404"),
        mistake("docker", {"docker_repository_key": "no key"}, "docker_repository_key: the public key"),
    )
    assert done.returncode == 0, done.stdout
    assert host.file(source).content_string == old
    assert host.run("apt-get update --error-on=any").succeeded


def test_absent_keeps_data_but_for_what_is_named(host, run):
    host.check_output(
        "docker volume create precious; docker run --detach --name web --entrypoint /bin/busybox web sleep 999"
    )
    process = host.check_output("docker inspect --format '{{.State.Pid}}' web")
    done = run(role(docker_state="absent", docker_remove_data=[]))
    assert done.returncode == 0, done.stdout
    assert not host.service("docker").is_running
    assert not host.service("docker").is_enabled
    assert not host.file(f"/proc/{process}").exists
    assert host.file("/srv/docker/volumes/precious").exists
    for path in (
        "/etc/docker/daemon.json",
        "/usr/local/lib/shipshape/docker",
        "/etc/apt/preferences.d/shipshape-docker",
    ):
        assert not host.file(path).exists
    again = run(role(docker_state="absent"))
    assert again.returncode == 0, again.stdout
    assert host.check_output("find /srv/docker -mindepth 1") == ""
