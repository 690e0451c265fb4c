#!/bin/sh
# pip of the shared environment: an administrator installs for everybody, and others install for
# themselves. In an environment that a user has made, its own pip comes first.
#
# Written by `littlest-hub environment make`.
environment=@ENVIRONMENT@
command=@COMMAND@

own() { exec "$environment/bin/python3" -m pip "$@"; }

case ${1-} in
    install | uninstall) ;;
    *) own "$@" ;;
esac
for word; do
    case $word in
        --user | --target | --target=* | -t | --prefix | --prefix=* | --root | --root=* | --dry-run | -h | --help)
            own "$@"
            ;;
    esac
done
if [ "$(id -u)" = 0 ]; then
    exec "$command" environment run -- @NAME@ "$@"
elif sudo -n -l "$command" environment run >/dev/null 2>&1; then
    exec sudo -n "$command" environment run -- @NAME@ "$@"
elif [ "$1" = install ]; then
    shift
    echo 'This is for you alone, in your home. Administrators with sudo install for everybody.' >&2
    own install --user "$@"
fi
own "$@"
