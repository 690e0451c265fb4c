# shellcheck shell=bash disable=SC1090,SC1091
# Read the files of a login shell in bash's order (bash(1), INVOCATION), with path.sh in between.
littlest_hub_terminal=${BASH_SOURCE[0]%/*}
[ ! -r /etc/profile ] || . /etc/profile
. "$littlest_hub_terminal/path.sh"
unset littlest_hub_terminal
if [ -r ~/.bash_profile ]; then
    . ~/.bash_profile
elif [ -r ~/.bash_login ]; then
    . ~/.bash_login
elif [ -r ~/.profile ]; then
    . ~/.profile
fi
