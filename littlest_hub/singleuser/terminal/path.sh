# shellcheck shell=sh
# Put the server's own directories first in PATH; for sh, bash and zsh.
if [ -n "${LITTLEST_HUB_PATH-}" ]; then
    case $PATH: in
        "$LITTLEST_HUB_PATH":*) ;;
        *) export PATH="$LITTLEST_HUB_PATH:$PATH" ;;
    esac
    unset LITTLEST_HUB_PATH ENV
fi
