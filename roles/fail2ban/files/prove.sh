#!/bin/sh
# Put fail2ban's configuration into effect, and see it ban: prove.sh reload|restart MAXRETRY JAIL...
# Lines about two addresses that nobody can have go into the journal where sshd's would, and both have to be banned.
set -u
how=$1 maxretry=$2
shift 2
addresses="240.0.0.1 100::1"

fail() {
    echo "$*" >&2
    journalctl --unit=fail2ban.service --priority=warning --since=-30s --lines=10 --no-pager --output=cat >&2
    exit 1
}

# until SECONDS COMMAND...: a fifth of a second between two tries
until_true() {
    tries=$(($1 * 5))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.2
    done
}

answers() { fail2ban-client ping >/dev/null 2>&1; }

runs() { fail2ban-client status "$1" >/dev/null 2>&1; }

banned() { [ "$(fail2ban-client get sshd banned "$1" 2>/dev/null)" = 1 ]; }

# Where the action is nft's, the packet filter has to have the address, too.
closed() {
    case "$(fail2ban-client get sshd actions)" in
    *nftables*) nft list ruleset | grep -qF "$1" ;;
    esac
}

attack() {
    # A process of its own for each address, as one process is one connection to the filter. It stays until the journal
    # has read of which unit it is.
    # shellcheck disable=SC2016
    systemd-run --quiet --collect --wait --slice=system-ssh.slice --property=SyslogIdentifier=sshd \
        --property=StandardOutput=journal sh -c '
        for _ in $(seq "$1"); do
            echo "Failed password for invalid user shipshape-selftest from $0 port 9 ssh2"
        done
        sleep 0.5' "$1" "$maxretry"
}

answers || how=restart
if [ "$how" = restart ]; then
    systemctl reset-failed fail2ban.service 2>/dev/null
    systemctl restart fail2ban.service || fail "fail2ban does not start"
    until_true 20 answers || fail "fail2ban does not answer"
else
    # Without --restart the rules of running bans would keep the old ports.
    fail2ban-client reload --restart || fail "fail2ban refuses to reload"
fi

for jail; do
    until_true 10 runs "$jail" || fail "the jail $jail does not run"
done

case " $* " in *" sshd "*) ;; *) exit 0 ;; esac
lift() {
    # shellcheck disable=SC2086
    fail2ban-client unban $addresses >/dev/null
}
# What a run left that was killed here would prove nothing.
lift
trap lift EXIT
for address in $addresses; do
    attack "$address" || fail "no line could be written to the journal"
done
for address in $addresses; do
    until_true 10 banned "$address" || fail "the jail sshd does not see failed logins in the journal: $address is not banned"
    until_true 5 closed "$address" || fail "the action of the jail sshd does not work: nftables does not have $address"
done
