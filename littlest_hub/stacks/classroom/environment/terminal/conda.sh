#!/bin/sh
# @NAME@ of the shared environment, if an administrator has installed it there.
#
# Written by `littlest-hub environment make`.
environment=@ENVIRONMENT@
command=@COMMAND@

if [ ! -x "$environment/bin/@NAME@" ]; then
    echo '@NAME@ is not installed here; type: pip install NAME (an administrator, for packages of conda: sudo littlest-hub environment install --conda NAME --channel CHANNEL)' >&2
    exit 1
fi
case ${1-} in
    install | uninstall | remove | update | upgrade) ;;
    *) exec "$environment/bin/@NAME@" "$@" ;;
esac
for word; do
    case $word in
        -n | --name | --name=* | -p | --prefix | --prefix=* | --dry-run | -h | --help)
            exec "$environment/bin/@NAME@" "$@"
            ;;
    esac
done
if [ "$(id -u)" = 0 ]; then
    exec "$command" environment run -- @NAME@ "$@"
elif sudo -n -l "$command" environment run >/dev/null 2>&1; then
    exec sudo -n "$command" environment run -- @NAME@ "$@"
fi
echo 'Only an administrator changes the environment; for yourself: @NAME@ create --prefix ~/mine' >&2
exit 1
