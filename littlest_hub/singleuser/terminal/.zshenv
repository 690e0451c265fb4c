# zsh reads this file and .zprofile here, and all other files where the user has them (zsh(1), FILES).
# The machine's zprofile, which may replace PATH, is read between these two.
LITTLEST_HUB_TERMINAL=$ZDOTDIR
ZDOTDIR=$LITTLEST_HUB_ZDOTDIR
[[ ! -r $ZDOTDIR/.zshenv ]] || . "$ZDOTDIR/.zshenv"
LITTLEST_HUB_ZDOTDIR=${ZDOTDIR:-$HOME}
ZDOTDIR=$LITTLEST_HUB_TERMINAL
