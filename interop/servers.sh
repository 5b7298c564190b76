#!/bin/sh
# Installs the servers that the tests start for themselves: servers.sh [SERVER...], all of them by default.
#
# Only Debian and its relatives are known, as root or where sudo asks no password. Elsewhere it says what is missing:
# the tests that need it are skipped, with CI=true they fail, and so does this script.
set -eu

# Where the programs of some packages lie that are not on the PATH.
PATH=$PATH:/usr/sbin:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')

# For each server: a program that is there when it is, and the package it comes in.
program() {
    case $1 in
        postgresql) echo initdb ;;
        mariadb) echo mariadbd ;;
        memcached) echo memcached ;;
        *) echo "servers.sh: there is no server $1 here" >&2; exit 2 ;;
    esac
}
package() {
    case $1 in
        postgresql) echo postgresql ;;
        mariadb) echo mariadb-server ;;
        memcached) echo memcached ;;
    esac
}

packages=
for server in ${*:-postgresql mariadb memcached}; do
    name=$(program "$server")
    command -v "$name" > /dev/null || packages="$packages $(package "$server")"
done
[ -n "$packages" ] || exit 0

as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get > /dev/null && { [ -z "$as_root" ] || sudo -n true 2> /dev/null; }; then
    echo "Installing$packages, for the tests"
    # Nothing shall be served from this machine because of a test: no cluster is made, nothing is started.
    $as_root mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" | $as_root tee /etc/postgresql-common/createcluster.conf > /dev/null
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee /usr/sbin/policy-rc.d > /dev/null
        $as_root chmod 755 /usr/sbin/policy-rc.d
        trap '$as_root rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    $as_root apt-get update -q
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        -o Dpkg::Options::=--force-confold $packages
    exit 0
fi
echo "The tests of some storages need servers that are not installed. On Debian: sudo apt install$packages" >&2
[ "${CI:-}" != true ]
