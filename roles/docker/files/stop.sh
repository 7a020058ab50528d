#!/bin/sh
# Stop every container with its own grace, then the daemon: it would otherwise leave them running, without anybody to
# look after them.
set -eu
if docker info >/dev/null 2>&1; then
    running=$(docker ps --quiet)
    # shellcheck disable=SC2086
    [ -z "$running" ] || docker stop $running >/dev/null
fi
systemctl disable --now docker.socket docker.service 2>&1
