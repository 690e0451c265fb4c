#!/bin/sh
# Start a terminal: the user's login shell, with the server's own directories first in PATH.
#
# /etc/profile replaces PATH on some distributions (Debian's does). So path.sh runs after the
# machine's files, and before the user's own where the shell permits.
#
# $1: the server's directories, with colons between them. $2: oom_score_adj (proc(5)).
here=${0%/*}
export LITTLEST_HUB_PATH="$1"
echo "$2" 2>/dev/null >/proc/self/oom_score_adj
for SHELL in "${SHELL:-}" /bin/bash /bin/sh; do
    if [ -x "$SHELL" ]; then break; fi
done
export SHELL
# shellcheck disable=SC2016 # fish expands it
case ${SHELL##*/} in
    # A login shell of bash has no place between /etc/profile and the user's files.
    bash) exec "$SHELL" --init-file "$here/bash.sh" -i ;;
    zsh)
        export LITTLEST_HUB_ZDOTDIR="${ZDOTDIR:-$HOME}" ZDOTDIR="$here"
        exec "$SHELL" -l
        ;;
    fish)
        exec "$SHELL" -l -C 'if test -n "$LITTLEST_HUB_PATH"
            set -gx PATH (string split : $LITTLEST_HUB_PATH) $PATH
            set -e LITTLEST_HUB_PATH
        end'
        ;;
    # dash and ksh read the file that ENV names after the user's ~/.profile.
    *) ENV="$here/path.sh" exec "$SHELL" -l ;;
esac
