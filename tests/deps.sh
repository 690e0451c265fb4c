#!/bin/sh
# usage: deps.sh [--optional] PACKAGE...
# Install the Debian packages that are missing; without root say which they are, and fail unless
# they are optional.
set -eu

optional=
if [ "$1" = --optional ]; then
    optional=yes
    shift
fi
if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian-like machine: install the likes of $*" >&2
    exit 0
fi
missing=
for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "missing packages; as root: apt-get install --no-install-recommends$missing" >&2
    [ -n "$optional" ]
    exit
fi
echo "installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of package names
apt-get install -y -qq --no-install-recommends $missing >/dev/null
