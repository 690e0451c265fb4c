#!/bin/sh
HEADER_SHA256='@HEADER_SHA256@'
case "$0:${ZSH_EVAL_CONTEXT-toplevel}" in
    *.sh:toplevel) ;;
    *)
        echo 'ERROR: run this file with sh, and keep its name ending in .sh (it cannot be sourced)' >&2
        # shellcheck disable=SC2317
        return 1 2>/dev/null || exit 1
        ;;
esac
if [ -n "${ZSH_VERSION-}" ]; then emulate sh; fi
unset LD_LIBRARY_PATH LD_PRELOAD LD_AUDIT
PATH=/usr/sbin:/usr/bin:/sbin:/bin${PATH:+:$PATH}
INSTALLER=$0

sum_of_header() {
    dd "if=$INSTALLER" bs=512 count=@HEADER_BLOCKS@ 2>/dev/null | sed 2d | sha256sum | cut -c 1-64
}

damaged() {
    echo "ERROR: this file is damaged, nothing was changed. Please download it again" >&2
    echo "sha256 of its $1 is ${2:-unknown (no sha256sum here)} and should be $3" >&2
    return 1
}

FOUND=$(sum_of_header)
case "$FOUND" in
    "$HEADER_SHA256") ;;
    *)
        damaged header "$FOUND" "$HEADER_SHA256"
        # Like "exit 1", but no single damaged byte can turn it into a success.
        exec false
        ;;
esac

# The shell reads a script piece by piece. The lines above have verified every byte of those below
# before these are parsed, and main verifies the lines above: any damaged byte ends the installation.
#
# Requirements: a shell, coreutils, sed, tar, and glibc's getconf or ldd. All else is optional.
#
# This file consists of this header (padded to blocks of 512 bytes), an uncompressed tar of the
# support files (zstd, relocate.py, the license, scripts), and the environment in parts, each a tar in
# zstd frames, also padded. The environment is unpacked and relocated in STAGING, beside PREFIX, and
# then renamed. The files in STAGING record how far an installation has come, so that this run or the
# next one can undo it.

NAME=@NAME@
VERSION=@VERSION@
PLATFORM=@PLATFORM@
ARCHITECTURE=@ARCHITECTURE@
GLIBC=@GLIBC@
PYTHON=@PYTHON@
HAS_LICENSE=@HAS_LICENSE@
HAS_POST_INSTALL=@HAS_POST_INSTALL@
CONCLUSION=@CONCLUSION@
HEADER_BLOCKS=@HEADER_BLOCKS@
SUPPORT_BLOCKS=@SUPPORT_BLOCKS@
SUPPORT_SHA256=@SUPPORT_SHA256@
# FIRST_BLOCK:BYTES of each part
PARTS=@PARTS@
PAYLOAD_SIZE=@PAYLOAD_SIZE@
PAYLOAD_SHA256=@PAYLOAD_SHA256@
UNPACKED_SIZE=@UNPACKED_SIZE@
PREFIX_LIMIT=@PREFIX_LIMIT@
# The default prefix is $BASE_VARIABLE/$REST. Both are empty if it has another form.
BASE_VARIABLE=@BASE_VARIABLE@
REST=@REST@
VARIABLES=@VARIABLES@

OPTIONS=
BATCH=0
FORCE=0
SKIP_SCRIPTS=0
CHECKED=0
CLAIMED=0
LOCKING=0
INTERRUPTED=

usage() {
    printf 'usage: %s [options]\n\nInstalls %s %s\n\n' "$INSTALLER" "$NAME" "$VERSION"
    printf '%s\n' \
        '-b           batch mode: ask nothing, and take the license terms (if any) as accepted' \
        '-i           interactive mode: ask (the default)' \
        '-f           no error if the prefix exists: replace the installation in it' \
        '-h, --help   print this help and exit' \
        '-k           keep the package cache (accepted and without effect: none is made)' \
        "-p PREFIX    where to install; $PREFIX if not given" \
        '-s           skip the script that is run after the installation' \
        '-u           the same as -f: replace an existing installation, all of it or not at all'
    if [ -n "$VARIABLES" ]; then
        printf '\nvariables, as in NAME=VALUE sh %s:\n\n%s\n' "$INSTALLER" "$VARIABLES"
    fi
}

# fail MESSAGE [HINT]
fail() {
    printf 'ERROR: %s\n' "$1" >&2
    if [ $# -gt 1 ]; then printf '%s\n' "$2" >&2; fi
    exit 1
}

megabytes() {
    echo $((($1 + 999999) / 1000000))
}

# --- options and questions ----------------------------------------------------------------------

read_options() {
    while getopts :bfhikp:su-: option; do
        if [ "$option" = - ]; then option=-$OPTARG; fi
        case "$option" in [bfiksu]) OPTIONS="$OPTIONS -$option" ;; esac
        case "$option" in
            b) BATCH=1 ;;
            i) BATCH=0 ;;
            f | u) FORCE=1 ;;
            k) ;;
            p) PREFIX=$OPTARG ;;
            s) SKIP_SCRIPTS=1 ;;
            h | -help)
                usage
                exit 2
                ;;
            :) fail "option '-$OPTARG' needs a value, please try -h" ;;
            -*) fail "did not recognize option '-$option', please try -h" ;;
            *) fail "did not recognize option '-$OPTARG', please try -h" ;;
        esac
    done
    shift $((OPTIND - 1))
    case "${1-}" in
        '') if [ $# -gt 0 ]; then fail 'an argument is empty, please try -h'; fi ;;
        [A-Za-z_]*=*) fail "unexpected argument '$1'" "Variables come first: $1 sh $INSTALLER ..." ;;
        */* | .* | [~]*) fail "unexpected argument '$1'" "Did you mean $(command_for "$@") ?" ;;
        *) fail "unexpected argument '$1'" "Did you mean $(command_for DIRECTORY) ? For all options, try -h" ;;
    esac
}

# base_of DIRECTORY: print it or, if it is a release, its base directory
base_of() {
    base=${1%/"${REST%/*}"/*}
    echo "${base:-/}"
}

# command_for DIRECTORY [OPTION...]: print the command that installs there
command_for() {
    if [ -z "$REST" ]; then
        echo "-p $1"
        return
    fi
    base=$(base_of "$1")
    shift
    echo "$BASE_VARIABLE=$base sh $INSTALLER$OPTIONS${*:+ $*}"
}

# True if a script will run, and only in a prefix that ends in /REST.
wants_rest() {
    [ -n "$REST" ] && [ "$HAS_POST_INSTALL" = 1 ] && [ "$SKIP_SCRIPTS" = 0 ]
}

lacks_rest() {
    case "/${PREFIX%/}" in
        */"$REST") return 1 ;;
        *) wants_rest ;;
    esac
}

# ask QUESTION: read the answer into ANSWER
ask() {
    printf '%s' "$1"
    if ! IFS= read -r ANSWER && [ -z "$ANSWER" ]; then
        echo
        fail 'no answer on standard input' 'To install without questions, use -b'
    fi
}

# ask_yes_no QUESTION: read the answer, in lower case, into ANSWER; it may be another word
ask_yes_no() {
    ask "$1"
    ANSWER=$(printf '%s' "$ANSWER" | tr '[:upper:]' '[:lower:]')
}

ask_everything() {
    printf '\nWelcome to %s %s\n' "$NAME" "$VERSION"
    if [ "$HAS_LICENSE" = 1 ]; then ask_for_consent; fi
    other=location
    if wants_rest; then other="base directory, to install into its $REST"; fi
    ask "
$NAME will be installed into this location:
$PREFIX

  - press ENTER to confirm it
  - press CTRL-C to leave without installing
  - or type another $other

[$PREFIX] >>> "
    if [ -z "$ANSWER" ]; then return; fi
    PREFIX=$(expanded "$ANSWER")
    if [ -n "$PREFIX" ] && lacks_rest; then PREFIX=$PREFIX/$REST; fi
}

ask_for_consent() {
    ask '
The license terms come next; the installation needs your consent.
Please press ENTER to continue
>>> '
    support_files | tar -xOf - LICENSE.txt | page
    ask_yes_no '
Do you accept the license terms? [yes|no]
>>> '
    while [ "$ANSWER" != yes ] && [ "$ANSWER" != no ]; do
        ask_yes_no "Please answer 'yes' or 'no':
>>> "
    done
    if [ "$ANSWER" = no ]; then
        echo "The license agreement wasn't approved, aborting installation."
        exit 2
    fi
}

# Show standard input page by page. Newer versions of more wait at the end unless they have -e.
page() {
    for pager in 'more -e' more cat; do
        # shellcheck disable=SC2086 # a command and its option
        if $pager </dev/null >/dev/null 2>&1; then
            $pager
            return
        fi
    done
}

# expanded ANSWER: print a path as the shell expands it on its command line
expanded() {
    case "$1/" in
        [~]/*) printf '%s' "${HOME-}${1#?}" ;;
        *'$'*) printf '%s' "$1" | if command -v envsubst >/dev/null; then envsubst; else cat; fi ;;
        *) printf '%s' "$1" ;;
    esac
}

# --- checks; none of them changes anything ------------------------------------------------------

check_machine() {
    machine="$(uname -s) $(uname -m)"
    if [ "$machine" != "Linux $ARCHITECTURE" ]; then
        if [ "$BATCH" = 1 ]; then
            fail "this installer is for Linux $ARCHITECTURE, and this machine is $machine"
        fi
        ask_yes_no "WARNING: this installer is for Linux $ARCHITECTURE, and this machine is $machine.
Continue nevertheless? [yes|no]
[no] >>> "
        if [ "$ANSWER" != yes ]; then
            echo 'Aborting installation'
            exit 2
        fi
    fi
    found=${CONDA_OVERRIDE_GLIBC:-$(glibc_version)}
    case "$found" in
        '') fail "Installer requires GLIBC >=$GLIBC, but system has none." ;;
        *[!0-9.]* | .* | *. | *..*) fail "Installer requires GLIBC >=$GLIBC, but system has $found." ;;
    esac
    if [ "$(comparable "$found")" -lt "$(comparable "$GLIBC")" ]; then
        fail "Installer requires GLIBC >=$GLIBC, but system has $found."
    fi
}

glibc_version() {
    version=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc //p')
    if [ -z "$version" ]; then
        version=$(ldd --version 2>/dev/null | sed -n '1s/.* \([0-9][0-9.]*\)$/\1/p')
    fi
    echo "$version"
}

# comparable VERSION: print a version such as 2.28 as one number
comparable() {
    set -- "$(echo "$1.0" | sed -e 's/^0*\([0-9]\)/\1/' -e 's/\.0*\([0-9]\)/.\1/g')"
    set -- "${1%%.*}" "${1#*.}"
    echo $(($1 * 1000 + ${2%%.*}))
}

file_size() {
    echo $(($(wc -c <"$INSTALLER")))
}

# True if the file has its full size and the support files, which run before the sum of the payload
# is known, are undamaged. This detects an incomplete download.
looks_whole() {
    [ "$(file_size)" -eq $((HEADER_BLOCKS * 512 + PAYLOAD_SIZE)) ] &&
        [ "$(support_files | sha256sum | cut -c 1-64)" = "$SUPPORT_SHA256" ]
}

check_payload() {
    echo "Checking payload ($(megabytes "$PAYLOAD_SIZE") MB)..."
    CHECKED=1
    found=$({
        dd bs=512 count="$HEADER_BLOCKS" of=/dev/null 2>/dev/null
        sha256sum
    } <"$INSTALLER" | cut -c 1-64)
    if [ "$found" = "$PAYLOAD_SHA256" ]; then return; fi
    size=$(file_size)
    if [ "$size" -ne $((HEADER_BLOCKS * 512 + PAYLOAD_SIZE)) ]; then
        echo "The file has $size bytes and should have $((HEADER_BLOCKS * 512 + PAYLOAD_SIZE))." >&2
    fi
    damaged payload "$found" "$PAYLOAD_SHA256"
    exit 1
}

# Make PREFIX absolute and normal, as cd does. Refuse one that "#!" lines or units cannot contain.
check_prefix_name() {
    case "$PREFIX" in
        '') fail 'the prefix is empty' ;;
        /*) ;;
        *) PREFIX=$(pwd)/$PREFIX ;;
    esac
    case "$PREFIX" in
        *' '*) fail 'Cannot install into directories with spaces' "The prefix is '$PREFIX'" ;;
    esac
    bad=$(
        printf '%s' "$PREFIX" | LC_ALL=C tr -d 'A-Za-z0-9/._+@,=\200-\377-'
        echo .
    )
    if [ "$bad" != . ]; then
        fail "Cannot install into '$PREFIX': '$(printf '%s' "${bad%.}" | cut -c 1 | head -n 1)' cannot be used in a prefix" \
            'Use letters, digits and / . _ + @ , = - only'
    fi
    PREFIX=$(printf '%s/\n' "$PREFIX" | LC_ALL=C sed -e 's:///*:/:g' \
        -e ':dot' -e 's:/\./:/:' -e 't dot' \
        -e ':up' -e 's:^/\.\./:/:' -e 't up' -e 's:/[^/][^/]*/\.\./:/:' -e 't up' \
        -e 's:\(.\)/$:\1:')
    length=$(($(printf '%s' "$PREFIX" | wc -c)))
    if [ "$length" -gt "$PREFIX_LIMIT" ]; then
        fail "the prefix is too long: '$PREFIX' has $length bytes, and the limit is $PREFIX_LIMIT" \
            "(the first line of a script, \"#!PREFIX/$PYTHON\", may have 127)"
    fi
    if lacks_rest; then
        base=$(base_of "$PREFIX")
        fail "the prefix '$PREFIX' does not end in /$REST" \
            "Did you mean $(command_for "$base") ? Or -p ${base%/}/$REST"
    fi
    PARENT=${PREFIX%/*}
    PARENT=${PARENT:-/}
    STAGING=${PARENT%/}/.${PREFIX##*/}.installing
    ANCESTOR=$PARENT
    while [ ! -e "$ANCESTOR" ]; do
        ANCESTOR=${ANCESTOR%/*}
        ANCESTOR=${ANCESTOR:-/}
    done
}

check_existing() {
    if [ -h "$PREFIX" ] && [ "$FORCE" = 1 ]; then
        fail "'$PREFIX' is a symbolic link, and only directories are replaced" \
            "Use -p $(cd "$PREFIX" 2>/dev/null && pwd -P || echo DIRECTORY)"
    fi
    if exists "$PREFIX" && ! is_empty "$PREFIX" && ! is_unfinished; then
        if [ "$FORCE" = 0 ]; then
            fail "File or directory already exists: '$PREFIX'" \
                'If you want to update an existing installation, use the -u option.'
        fi
        if ! is_installation; then
            fail "'$PREFIX' is not an installation of $NAME, and is not replaced"
        fi
        if [ -e "$PREFIX/envs" ]; then
            fail "'$PREFIX' has environments in it, which would be lost: '$PREFIX/envs'"
        fi
    fi
}

check_parent() {
    if [ ! -d "$ANCESTOR" ]; then
        fail "Could not create directory: '$PREFIX'." "'$ANCESTOR' is not a directory"
    fi
    if [ ! -w "$ANCESTOR" ]; then
        reason="'$ANCESTOR' cannot be written to by $(id -un)"
        if [ "$(id -u)" -ne 0 ] && [ -n "$BASE_VARIABLE" ]; then
            reason="$reason
Use sudo, or a directory of your own: $(command_for "\$HOME/$NAME")"
        fi
        fail "Could not create directory: '$PREFIX'." "$reason"
    fi
}

# For root, refuse a prefix below a directory that another user can change: that user could replace
# what root runs. Follow links. Nobody can rename another user's files in a sticky directory.
check_owners() {
    if [ "$(id -u)" -ne 0 ]; then return; fi
    check_owner /
    current=
    left=$ANCESTOR/
    links=0
    while [ -n "$left" ]; do
        step=${left%%/*}
        left=${left#*/}
        case "$step" in
            '' | .) continue ;;
            ..)
                current=${current%/*}
                continue
                ;;
        esac
        step=$current/$step
        check_owner "$step"
        if [ ! -h "$step" ]; then
            current=$step
            continue
        fi
        links=$((links + 1))
        if [ "$links" -gt 40 ]; then fail "'$step' is one of too many links"; fi
        target=$(readlink "$step")
        case "$target" in /*) current= ;; esac
        left=$target/$left
    done
}

# check_owner STEP: refuse a directory or link that others than root can change
check_owner() {
    found=$(stat -c '%u %g %A' "$1")
    case "$found" in
        '0 '*' l'* | '0 '*[tT]) return ;;
        '0 '*' '????????w*) ;;
        '0 0 '*) return ;;
        '0 '*' '?????w*) ;;
        '0 '*) return ;;
    esac
    fail "'$1' belongs to $(stat -c %U "$1") and has mode $(stat -c %a "$1"), so other users can replace what is below it" \
        "Root installs only where every directory belongs to root, and nobody else may write to it:
chown root: $1 && chmod go-w $1"
}

exists() {
    [ -e "$1" ] || [ -h "$1" ]
}

is_empty() {
    [ -d "$1" ] && [ ! -h "$1" ] && [ -z "$(ls -A "$1")" ]
}

# True if PREFIX has the record of our own package. No other installation is replaced.
is_installation() {
    for record in "$PREFIX/conda-meta/$NAME"-*.json; do
        if [ -e "$record" ]; then return 0; fi
    done
    return 1
}

# True if the installation of PREFIX was killed after it was renamed into place and before its
# script ended.
is_unfinished() {
    [ -e "$STAGING/unfinished" ] || { [ -e "$STAGING/swapped" ] && [ ! -e "$STAGING/prefix" ]; }
}

available_kb() {
    df -Pk "$STAGING" 2>/dev/null | sed -n '2s/.* \([0-9][0-9]*\)  *[0-9][0-9]*% .*/\1/p'
}

check_space() {
    available=$(available_kb)
    required=$((UNPACKED_SIZE / 1024 + 50 * 1024))
    if [ -n "$available" ] && [ "$available" -lt "$required" ]; then
        fail "Not enough free disk space. Only $((available / 1024)) MB are available, but $((required / 1024)) MB are required (leaving a 50 MB buffer)."
    fi
}

# --- environment variables and standard input ---------------------------------------------------

neutralise_environment() {
    umask 022
    for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
        case "$name" in
            CONDA* | _CONDA* | _CE_* | MAMBA* | PYTHON* | LD_* | TMPDIR | TMP | TEMP | TAR_OPTIONS | \
                BASH_ENV | ENV | CDPATH | POSIXLY_CORRECT)
                unset "$name"
                ;;
        esac
    done
    case "$INSTALLER" in
        /*) ;;
        *) INSTALLER=$(pwd)/$INSTALLER ;;
    esac
    # A daemon may have closed its standard streams. The script gets the caller's input, unchanged.
    { true 3<&0; } 2>/dev/null || exec </dev/null
    { true 3>&1; } 2>/dev/null || exec >/dev/null
    { true 3>&2; } 2>/dev/null || exec 2>/dev/null
    exec 3<&0
}

# --- installation and roll-back -----------------------------------------------------------------

claim() {
    trap 'undo $?' EXIT
    trap 'interrupted 129' HUP
    trap 'interrupted 130' INT
    trap 'interrupted 131' QUIT
    trap 'interrupted 141' PIPE
    trap 'interrupted 143' TERM
    mkdir -p "$PARENT" 2>/dev/null || fail "Could not create directory: '$PREFIX'."
    wait_for_lock
    CLAIMED=1
    echo $$ >"$STAGING/pid" || fail "Could not write to directory: '$STAGING'"
    if [ -s "$STAGING/ancestor" ]; then
        ANCESTOR=$(cat "$STAGING/ancestor")
        echo 'An earlier installation was interrupted: removing what it left'
    fi
    take_over
    echo "$ANCESTOR" >"$STAGING/ancestor"
}

# Lock STAGING, unless another installer runs. If only processes run that an installer had started
# before it was killed, wait until they have ended.
# shellcheck disable=SC3013 # -ef is in POSIX since 2024, and in all shells
wait_for_lock() {
    tries=240
    until lock; do
        exec 9>&-
        process=$(cat "$STAGING/pid" 2>/dev/null || :)
        if [ "/proc/${process:-none}/fd/9" -ef "$STAGING/lock" ]; then
            fail "another installation into '$PREFIX' is running (process $process)" \
                'Wait until it has ended'
        fi
        case "$tries" in
            238) echo 'Waiting for the processes of an earlier installation to end...' ;;
            0)
                find_holders
                fail "'$STAGING/lock' is still locked, by processes of an earlier installation:${HOLDERS:- none of this machine}" \
                    'End them, and try again'
                ;;
        esac
        sleep 0.5
        tries=$((tries - 1))
    done
}

# True if this shell has locked STAGING. All processes that it starts inherit the lock, as descriptor
# 9, so it is held until the last of them has ended, even if this shell is killed.
# shellcheck disable=SC3013
lock() {
    mkdir -p "$STAGING" 2>/dev/null || fail "Could not create directory: '$STAGING'."
    if [ -h "$STAGING" ] || [ "$(stat -c %u "$STAGING")" != "$(id -u)" ]; then
        fail "'$STAGING' belongs to another user and is in the way"
    fi
    LOCKING=1
    # Anyone who may read it could hold it.
    if ! (umask 077 && : >>"$STAGING/lock") 2>/dev/null; then
        if [ ! -d "$STAGING" ]; then return 1; fi
        fail "Could not write to directory: '$STAGING'"
    fi
    hold
}

# True if this shell holds the lock file, which must exist.
# shellcheck disable=SC3013
hold() {
    command exec 9>>"$STAGING/lock" || return 1
    code=0
    flock -n 9 2>/dev/null || code=$?
    case "$code" in
        0) ;;
        1) return 1 ;;
        *) # Without the program, or on a file system without locks, the descriptor is the lock.
            find_holders
            if [ -n "$HOLDERS" ]; then return 1; fi
            ;;
    esac
    # An installer that has just ended may have removed the file.
    [ "$STAGING/lock" -ef "/proc/$$/fd/9" ] || [ ! -e /proc/self ]
}

# Set HOLDERS to the IDs of other processes that hold the lock of STAGING.
# shellcheck disable=SC3013
find_holders() {
    HOLDERS=
    for process in /proc/[0-9]*; do
        if [ "$process/fd/9" -ef "$STAGING/lock" ] && [ "$process" != /proc/$$ ]; then
            HOLDERS="$HOLDERS ${process#/proc/}"
        fi
    done
}

# Remove STAGING, and the lock last: until then nobody else creates anything there.
remove_staging() {
    for file in "$STAGING"/*; do
        if [ "$file" != "$STAGING/lock" ]; then rm -rf "$file"; fi
    done
    rm -f "$STAGING/lock"
    rmdir "$STAGING" 2>/dev/null || :
}

# Keep an unfinished environment until another one can replace it: its script may have succeeded
# after the installer was killed, and then the environment is in use.
take_over() {
    if is_unfinished && [ ! -e "$STAGING/old" ]; then
        : >"$STAGING/unfinished"
        rm -f "$STAGING/swapped"
    fi
    roll_back
    rm -rf "$STAGING/prefix" "$STAGING/old" "$STAGING/empty" "$STAGING"/decompressed.* "$STAGING"/log.*
}

support_files() {
    dd if="$INSTALLER" bs=512 skip="$HEADER_BLOCKS" count="$SUPPORT_BLOCKS" 2>/dev/null
}

# finished PROCESS: wait for a background process. Meanwhile the shell can handle signals.
finished() {
    wait "$1" || return
    wait
}

# tar reports every file that it cannot write. The first reports show the reason.
not_unpacked() {
    for log in "$STAGING"/log.*; do
        if [ -e "$log" ]; then tr -d '\000' <"$log" | head -n 5 >&2; fi
    done
    available=$(available_kb)
    fail "unpacking into '$STAGING' failed" "There are $((${available:-0} / 1024)) MB left on that disk"
}

# unpack_part FIRST_BLOCK BYTES
unpack_part() {
    {
        dd bs=512 skip="$1" count=0 2>/dev/null
        head -c "$2" | "$STAGING/zstd" -d -c -q && : >"$STAGING/decompressed.$1"
    } <"$INSTALLER" | tar -xof - -C "$STAGING/prefix"
}

# Unpack the parts in parallel, and check the payload meanwhile. Nothing of it runs before the check
# has succeeded. If the check fails, STAGING is removed.
unpack() {
    support_files | tar -xof - -C "$STAGING" || not_unpacked
    "$STAGING/zstd" --version >/dev/null 2>&1 ||
        fail "programs cannot be run in '$PARENT'" 'Is it mounted with noexec?'
    echo "Unpacking payload ($(megabytes "$UNPACKED_SIZE") MB)..."
    # Errors are reported below, after the check. The logs get their blocks now, as a full disk would
    # leave none.
    for part in $PARTS; do head -c 4096 /dev/zero >"$STAGING/log.${part%:*}" || not_unpacked; done
    unpacking=
    for part in $PARTS; do
        unpack_part "${part%:*}" "${part#*:}" 2<>"$STAGING/log.${part%:*}" &
        unpacking="$unpacking $!"
    done
    if [ "$CHECKED" = 0 ]; then
        check_payload &
        wait $! || exit $?
    fi
    for process in $unpacking; do wait "$process" || not_unpacked; done
    wait
    for part in $PARTS; do
        if [ ! -e "$STAGING/decompressed.${part%:*}" ]; then not_unpacked; fi
    done
    if [ "$(id -u)" -ne 0 ]; then : >"$STAGING/prefix/.nonadmin"; fi
}

relocate() {
    echo 'Setting paths...'
    "$STAGING/prefix/$PYTHON" -I -S -B "$STAGING/relocate.py" "$STAGING/prefix" "$PREFIX" &
    finished $! || fail "setting paths in '$STAGING/prefix' failed"
}

# Check PREFIX again, as it may have appeared since the first check. roll_back can undo every state
# between the lines that follow.
swap() {
    check_existing
    if is_empty "$PREFIX"; then : >"$STAGING/empty"; fi
    : >"$STAGING/swapped"
    if [ -e "$STAGING/empty" ]; then
        rmdir "$PREFIX" || fail "'$PREFIX' cannot be replaced" 'Is it a mount point?'
    elif exists "$PREFIX"; then
        mv "$PREFIX" "$STAGING/old" || fail "'$PREFIX' cannot be replaced" 'Is it a mount point?'
    fi
    mv "$STAGING/prefix" "$PREFIX" || fail "'$STAGING/prefix' cannot be renamed to '$PREFIX'"
}

# If the script has left PREFIX/.undo, run that before PREFIX is removed. If it fails, PREFIX may be
# in use: keep it, as unfinished, unless there is an older one to put back.
roll_back() {
    if [ ! -e "$STAGING/swapped" ]; then return; fi
    again=no
    if [ ! -e "$STAGING/prefix" ]; then
        if [ -x "$PREFIX/.undo" ]; then
            again=yes
            if ! "$PREFIX/.undo" && [ ! -e "$STAGING/old" ]; then
                : >"$STAGING/unfinished"
                rm -f "$STAGING/swapped"
                return
            fi
        fi
        rm -rf "$PREFIX"
    fi
    if [ -e "$STAGING/old" ]; then
        mv "$STAGING/old" "$PREFIX"
        # Services that the script has started must run from the restored environment.
        if [ "$again" = yes ]; then run_script || :; fi
        rm -f "$PREFIX/.messages.txt"
    fi
    if [ -e "$STAGING/empty" ] && [ ! -e "$PREFIX" ]; then mkdir "$PREFIX"; fi
    rm -f "$STAGING/swapped"
}

run_script() (
    cd "$PREFIX"
    export PREFIX FORCE
    export INSTALLER_NAME="$NAME" INSTALLER_VER="$VERSION" INSTALLER_PLAT="$PLATFORM"
    export INSTALLER_TYPE=SH INSTALLER_PATH="$INSTALLER" INSTALLER_UNATTENDED="$BATCH"
    export INST_OPT=''
    @SCRIPT_ENV_VARIABLES@
    exec "$STAGING/post_install.sh" <&3
)

run_post_install() {
    if [ "$HAS_POST_INSTALL" = 0 ]; then return; fi
    if [ "$SKIP_SCRIPTS" = 1 ]; then
        echo 'WARNING: skipping post_install.sh by user request' >&2
        return
    fi
    run_script &
    finished $! || fail 'executing post_install.sh failed'
}

finish() {
    trap '' HUP INT QUIT PIPE TERM
    if [ -e "$PREFIX/.messages.txt" ]; then
        cat "$PREFIX/.messages.txt" || :
        rm -f "$PREFIX/.messages.txt"
    fi
    rm -f "$STAGING/unfinished" "$STAGING/swapped"
    trap - EXIT
    remove_staging || :
    if [ -n "$CONCLUSION" ]; then printf '%s\n' "$CONCLUSION"; fi
    if [ "$BATCH" = 0 ]; then printf '\nThank you for installing %s!\n' "$NAME"; fi
}

# interrupted CODE
# shellcheck disable=SC2317 # called by traps, as all below are
interrupted() {
    trap '' HUP INT QUIT PIPE TERM
    INTERRUPTED=$1 # zsh may pass another code to undo
    echo 'Interrupted: removing what was installed' >&2 || :
    exit "$1"
}

# undo CODE: run at every exit before the installation is complete
# shellcheck disable=SC2317
undo() {
    trap '' HUP INT QUIT PIPE TERM
    trap - EXIT
    set +e
    stop_children
    # A signal may come when the lock file exists, and before it is known to be ours.
    if [ "$CLAIMED$LOCKING" = 01 ] && [ -e "$STAGING/lock" ] && hold 2>/dev/null; then CLAIMED=1; fi
    if [ "$CLAIMED" = 1 ]; then
        roll_back
        if [ -e "$STAGING/unfinished" ]; then rm -rf "$STAGING/prefix"; else remove_staging; fi
    fi
    rmdir "$STAGING" 2>/dev/null
    while [ "$PARENT" != "$ANCESTOR" ] && rmdir "$PARENT" 2>/dev/null; do
        PARENT=${PARENT%/*}
        PARENT=${PARENT:-/}
    done
    exit "${INTERRUPTED:-$1}"
}

# Terminate all processes that this shell has started, and kill them after 90 s: the script undoes
# its changes, which includes up to 30 s to stop a service.
# shellcheck disable=SC2086,SC2317 # lists of numbers
stop_children() {
    find_children
    if [ -z "$CHILDREN" ]; then return; fi
    kill -TERM $CHILDREN 2>/dev/null
    tries=900
    while [ "$tries" -gt 0 ] && any_alive $CHILDREN; do
        sleep 0.1
        tries=$((tries - 1))
    done
    if [ "$tries" -eq 0 ]; then kill -KILL $CHILDREN 2>/dev/null; fi
    wait
}

# Set CHILDREN to the process IDs of all descendants of this shell. This function starts no process.
# Without /proc it finds only the last background process.
# shellcheck disable=SC2086,SC2317
find_children() {
    if [ ! -r /proc/self/stat ]; then
        CHILDREN=${!-}
        return
    fi
    family=" $$ "
    known=
    while [ "$family" != "$known" ]; do
        known=$family
        for stat in /proc/[0-9]*/stat; do
            # "PID (COMMAND) STATE PPID ...", proc_pid_stat(5). The process may have ended.
            { IFS= read -r line <"$stat"; } 2>/dev/null || continue
            set -- "${line%% *}" ${line##*) }
            case "$family" in
                *" $1 "*) ;;
                *" $3 "*) family="$family$1 " ;;
            esac
        done
    done
    CHILDREN=${family#" $$ "}
}

# True if one of the processes has not ended. A zombie has ended.
# shellcheck disable=SC2317
any_alive() {
    for process in "$@"; do
        if kill -0 "$process" 2>/dev/null; then
            case "$(cat "/proc/$process/stat" 2>/dev/null)" in
                *') Z '*) ;;
                *) return 0 ;;
            esac
        fi
    done
    return 1
}

main() {
    set -eu
    FOUND=$(sum_of_header)
    if [ "$FOUND" != "$HEADER_SHA256" ]; then
        damaged header "$FOUND" "$HEADER_SHA256"
        exit 1
    fi
    PREFIX=@DEFAULT_PREFIX@
    read_options "$@"
    check_machine
    neutralise_environment
    # Check all of the file before any question. In batch mode most of it is checked during unpacking.
    if [ "$BATCH" = 0 ] || ! looks_whole; then check_payload; fi
    if [ "$BATCH" = 0 ]; then ask_everything; fi
    check_prefix_name
    # After an interrupted installation this is checked below, once its remains are handled.
    if [ ! -e "$STAGING" ]; then check_existing; fi
    check_parent
    check_owners
    echo "PREFIX=$PREFIX"
    claim
    check_existing
    check_space
    unpack
    relocate
    swap
    run_post_install
    finish
}

main "$@"; exit
