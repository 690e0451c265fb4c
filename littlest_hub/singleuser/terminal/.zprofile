. "$LITTLEST_HUB_TERMINAL/path.sh"
ZDOTDIR=$LITTLEST_HUB_ZDOTDIR
unset LITTLEST_HUB_TERMINAL LITTLEST_HUB_ZDOTDIR
[[ ! -r $ZDOTDIR/.zprofile ]] || . "$ZDOTDIR/.zprofile"
# Exported only if the user's own files do.
[[ $ZDOTDIR != "$HOME" ]] || unset ZDOTDIR
