#!/bin/sh
# A tiny image in several versions: /version and /health say which, and nothing else is in it.
set -eu
dpkg --status busybox-static curl >/dev/null 2>&1 || apt-get install -qq --no-install-recommends busybox-static curl >/dev/null 2>&1
for version in "$@"; do
    [ -z "$(docker image ls --quiet "tiny:$version")" ] || continue
    build=$(mktemp --directory)
    mkdir -p "$build/www/files" "$build/bin"
    cp /bin/busybox "$build/bin/busybox"
    printf '{"version": "%s"}' "$version" >"$build/www/version"
    printf '{"status": "healthy"}' >"$build/www/health"
    printf 'page of %s' "$version" >"$build/www/index.html"
    printf '%s' "$version" >"$build/www/files/$version.txt"
    cat >"$build/Dockerfile" <<'END'
FROM scratch
COPY . /
RUN ["/bin/busybox", "--install", "-s", "/bin"]
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
END
    docker build --quiet --tag "tiny:$version" "$build"
    rm -r "$build"
done
