#!/bin/sh
# The engine is the distribution's under a version of its own, so that it shows where it came from. On Debian 12 there is a
# compose, too, which the distribution has not: a script that says its version.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null
apt-get install -qq --no-install-recommends apt-utils gnupg docker-registry apache2-utils busybox-static >/dev/null 2>&1
VERSION_ID=$(sed -n "s/^VERSION_ID=\"\(.*\)\"/\1/p" /etc/os-release)
pool=/srv/apt/docker/pool
mkdir -p "$pool" "/srv/apt/docker/dists/shop/main/binary-$(dpkg --print-architecture)" /tmp/packages
cd /tmp/packages
case $VERSION_ID in
12) names=docker.io ;;
*) names="docker.io docker-cli docker-compose" ;;
esac
# shellcheck disable=SC2086
apt-get download -qq $names >/dev/null 2>&1
for name in $names; do
    dpkg-deb --raw-extract "$name"_*.deb "$name"
    sed -i 's/^Version: .*/&+shop1/' "$name/DEBIAN/control"
    dpkg-deb -Zgzip -z1 --root-owner-group --build "$name" "$pool" >/dev/null
done
if [ "$VERSION_ID" = 12 ]; then
    mkdir -p compose/DEBIAN compose/usr/libexec/docker/cli-plugins
    printf 'Package: docker-compose-plugin\nVersion: 2.40.0\nArchitecture: all\nMaintainer: shop <shop@example.org>\nDescription: compose\n' \
        >compose/DEBIAN/control
    cat >compose/usr/libexec/docker/cli-plugins/docker-compose <<'END'
#!/bin/sh
case $1 in
docker-cli-plugin-metadata) echo '{"SchemaVersion":"0.1.0","Vendor":"shop","Version":"2.40.0"}' ;;
*) echo "Docker Compose version 2.40.0" ;;
esac
END
    chmod 755 compose/usr/libexec/docker/cli-plugins/docker-compose
    dpkg-deb --root-owner-group --build compose "$pool" >/dev/null
fi
# Something else in there, which nobody asked for and which is newer than the distribution's.
mkdir -p stray/DEBIAN
printf 'Package: hello\nVersion: 99\nArchitecture: all\nMaintainer: shop <shop@example.org>\nDescription: stray\n' >stray/DEBIAN/control
dpkg-deb --build stray "$pool" >/dev/null

cd /srv/apt/docker
apt-ftparchive packages pool >"dists/shop/main/binary-$(dpkg --print-architecture)/Packages"
apt-ftparchive -o APT::FTPArchive::Release::Suite=shop -o APT::FTPArchive::Release::Codename=shop \
    -o APT::FTPArchive::Release::Components=main release dists/shop >/tmp/Release
mv /tmp/Release dists/shop/Release
for owner in shop stranger; do
    gpg --batch --quiet --passphrase '' --quick-generate-key "$owner@example.org" rsa3072 sign never 2>/dev/null
done
gpg --batch --quiet --yes --local-user shop@example.org --clearsign --output dists/shop/InRelease dists/shop/Release
gpg --armor --export shop@example.org >/srv/apt/docker.asc
gpg --armor --export stranger@example.org >/srv/apt/stranger.asc
cat >/etc/systemd/system/apt-shop.service <<'END'
[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /srv/apt 8088
[Install]
WantedBy=multi-user.target
END

htpasswd -Bbn deploy correct-horse-battery >/etc/docker/registry/htpasswd
chmod 644 /etc/docker/registry/htpasswd
cat >/etc/docker/registry/config.yml <<'END'
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/docker-registry}}
http: {addr: "127.0.0.1:5000"}
auth: {htpasswd: {realm: shop, path: /etc/docker/registry/htpasswd}}
END
systemctl daemon-reload
systemctl enable --quiet --now apt-shop.service
systemctl restart docker-registry.service
# Who logged in by hand before; the role logs out.
install -d -m 700 /root/.docker
echo '{"auths": {"old.example.org": {"auth": "ZGVwbG95OmxlZnQ="}}}' >/root/.docker/config.json
