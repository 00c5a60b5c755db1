# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=sh
# files.sh: for the checks here: where the tree is, and what belongs to it.
# Sourced with the check's name in $0.

top=${top_srcdir:-${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}}
build=${top_builddir:-${builddir:-$PWD}}
build=$(cd "$build" && pwd)
cd "$top" || exit 99

# tracked PATTERN...: the files that git knows (and that are there), by path.
tracked()
{
    git -c safe.directory='*' ls-files -- "$@" | while IFS= read -r f; do
        [ -f "$f" ] && [ ! -L "$f" ] && printf '%s\n' "$f"
    done
}

if ! git -c safe.directory='*' rev-parse --is-inside-work-tree >/dev/null 2>&1
then
    echo "this is no git checkout: what belongs to the tree can't be told"
    exit 77
fi

bad=0
# complain TEXT: one more finding.
complain()
{
    echo "$*"
    bad=$((bad + 1))
}

# verdict FILES WHAT: the last words of a check.
verdict()
{
    if [ "$1" -eq 0 ]; then
        echo "no file was looked at"
        exit 1
    fi
    echo "$1 files, $bad $2"
    [ "$bad" -eq 0 ]
}
