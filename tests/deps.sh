#!/bin/sh
# usage: deps.sh [--optional] PACKAGE...
# Install missing Debian packages. Without root, list them, and fail unless they are optional.
set -eu

optional=
if [ "$1" = --optional ]; then
    optional=yes
    shift
fi
if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian-like machine: install the equivalents of $*" >&2
    exit 0
fi

missing=
for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
        missing="$missing $package"
done
# Builder and tests read apt's archive from its index, which has to be fetched first.
if [ -z "$missing" ] && [ -n "$(apt-get indextargets)" ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "as root: apt-get update; apt-get install --no-install-recommends$missing" >&2
    [ -n "$optional" ]
    exit
fi
export DEBIAN_FRONTEND=noninteractive
echo "apt-get update" >&2
apt-get update -qq
if [ -n "$missing" ]; then
    echo "apt-get install$missing" >&2
    # shellcheck disable=SC2086  # a list of package names
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
