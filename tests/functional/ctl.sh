# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# ctl.sh: for the tests of blktapctl: the real daemon on a host without Xen, in
# a folder of its own.  To be sourced.
#
#   daemon_start       from $work/conf; waits until it answers
#   daemon_stop        and checks that it ended well
#   ctl WORD...        blktapctl of that daemon
#   value PATH WORD... one value of what `ctl --json WORD...' says
#   expect WANT GOT..  one is in the other
#   fails WORDS CMD... CMD fails with status 1 and says WORDS, on stderr only
#   until_is WANT CMD  CMD says WANT, sooner or later: a minute is never
#   logged WORDS       the daemon's log has them, sooner or later: it is written
#                      by a thread of its own
set -u
build=$(cd "${top_builddir:-.}" && pwd)
source=$(cd "${top_srcdir:-${srcdir:-$(dirname "$0")/../..}}" && pwd)
: "${BLKTAPD_PLUGINDIR:=$build/plugins/.libs}"
export BLKTAPD_PLUGINDIR
work=$(mktemp -d) || exit 99
daemon=
holders=
bad=0
patience=1000 # times 50 ms and more

cleanup()
{
    for p in $holders $daemon; do
        kill "$p" 2>/dev/null
    done
    wait 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

complain()
{
    echo "line ${BASH_LINENO[1]}: $*" | tee -a "$work/wrong"
    bad=$((bad + 1))
}

ctl()
{
    "$build/blktapctl" --socket "$work/control" "$@"
}

value()
{
    local path=$1

    shift
    ctl --json "$@" </dev/null | "$build/tests/functional/json_get" "$path"
}

expect()
{
    local want=$1

    shift
    case "$*" in
    *"$want"*) ;;
    *) complain "expected \"$want\", found \"$*\"" ;;
    esac
}

is()
{
    [ "$1" = "$2" ] || complain "expected \"$1\", found \"$2\""
}

fails()
{
    local words=$1 rc

    shift
    "$@" >"$work/out" 2>"$work/err" </dev/null
    rc=$?
    [ $rc = 1 ] || complain "$*: exit status $rc, expected 1"
    [ ! -s "$work/out" ] || complain "$*: says on stdout: $(cat "$work/out")"
    [ "$(wc -l <"$work/err")" = 1 ] ||
        complain "$*: expected one line, found: $(cat "$work/err")"
    expect "blktapctl: " "$(cat "$work/err")"
    expect "$words" "$(cat "$work/err")"
}

until_is()
{
    local want=$1 i

    shift
    for i in $(seq "$patience"); do
        [ "$("$@" 2>/dev/null)" = "$want" ] && return
        sleep 0.05
    done
    complain "$*: expected \"$want\", found \"$("$@" 2>&1)\""
}

logged()
{
    local i

    for i in $(seq "$patience"); do
        grep -qF -- "$1" "$work/log" && return
        sleep 0.05
    done
    complain "expected \"$1\" in the daemon's log"
}

daemon_start()
{
    "$build/blktapd" -f --host=local -c "$work/conf" 2>"$work/log" 7>&- &
    daemon=$!
    until_is 0 value disks version
    [ $bad = 0 ] || finish
}

daemon_stop()
{
    local rc

    kill "$daemon"
    wait "$daemon"
    rc=$?
    daemon=
    [ $rc = 0 ] || complain "the daemon ended with $rc: $(cat "$work/log")"
    ! grep -E 'runtime error|Sanitizer' "$work/log" ||
        complain "the daemon's log has an error: $(cat "$work/log")"
}

# hold [-w] DISK...: a process that has them; let_go ends it.
hold()
{
    local words=

    [ "$1" = -w ] && { words=-w; shift; }
    rm -f "$work/stdin"
    mkfifo "$work/stdin"
    # shellcheck disable=SC2086
    "$build/tests/functional/front_hold" $words "$work/control" "$@" \
        <"$work/stdin" >"$work/held" &
    holder=$!
    holders="$holders $holder"
    exec 7>"$work/stdin"
    until_is "holding $#" cat "$work/held"
}

let_go()
{
    exec 7>&-
    wait "$holder"
}

finish()
{
    # What was wrong stands last: ./check shows the end of this.
    if [ $bad != 0 ]; then
        echo "the daemon's log:"
        cat "$work/log"
        echo "$bad wrong:"
        cat "$work/wrong"
        exit 1
    fi
    echo ok
    exit 0
}
