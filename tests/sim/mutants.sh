# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=sh disable=SC2016,SC2154
#
# mutants.sh: one fault at a time is put into a copy of a source, and a program
# runs with it until it says that something is wrong.  A mutant that survives is
# a failure, and so is one whose text is not found any more, and one that does
# not come to an end: a program that waits has found nothing, unless it says so.
#
# First what every list of mutants needs, then that of plugins, whose program
# makes crash states.
srcdir=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
srcdir=$(cd "$srcdir" && pwd)
build=$(cd "${top_builddir:-.}" && pwd)
states=${STATES:-3000}
cc=${CC:-cc}
failed=0 mutants=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM

# replaced SOURCE FROM TO: SOURCE, in which FROM, literally, is replaced once.
replaced() {
    FROM=$2 TO=$3 awk '
        BEGIN { RS = "\001"; from = ENVIRON["FROM"]; to = ENVIRON["TO"] }
        {
            at = index($0, from)
            if (!at) exit 1
            printf "%s%s%s", substr($0, 1, at - 1), to,
                substr($0, at + length(from))
        }' "$1"
}

# mutate NAME SOURCE COPY FROM TO
mutate() {
    mutants=$((mutants + 1))
    replaced "$2" "$4" "$5" >"$3" && return
    echo "$1: $(basename "$2") no longer has: $4"
    failed=1
    return 1
}

# run_limited COMMAND…: what it says is in $tmp/out; sets $status.  The limit is
# for a program that never ends, not for a host that is busy.
limit=${LIMIT:-600}
run_limited() {
    status=0
    timeout "$limit" "$@" >"$tmp/out" 2>&1 || status=$?
}

# verdict NAME SEEN SURVIVED: of the program that ended with $status. It has
# found the mutant when a check of it failed, or when it died of its own: an
# assertion, a pointer that leads nowhere.
verdict() {
    case $status in
    0) seen="SURVIVED $3" failed=1 ;;
    1) seen=${2:-$(tail -n 1 "$tmp/out")} ;;
    132 | 134 | 135 | 136 | 139) seen=${2:-dies of signal $((status - 128))} ;;
    124) seen="NOT DECIDED: no end in $limit s" failed=1 ;;
    *) seen="NOT DECIDED: status $status" failed=1 ;;
    esac
    printf '%-58s %s\n' "$1" "$seen"
}

mutants_end() {
    echo "$mutants mutants"
    exit $failed
}

# make_value NAME: what the Makefile says.
make_value() {
    printf 'value:\n\t@echo $(%s)\n' "$1" >"$tmp/value.mk"
    make -s -C "$build" -f Makefile -f "$tmp/value.mk" value | tail -n 1
}

object() { # SOURCE OBJECT
    # shellcheck disable=SC2086
    $cc $flags -c "$1" -o "$2"
}

link() {
    # shellcheck disable=SC2086
    $cc "$tmp"/o/*.o -o "$tmp/crash" "$build/plugins/libplugins_static.a" \
        "$build/libchain.a" "$build/libhost.a" $libs -lz -lzstd -ldl
}

# build_sane LIBRARIES TEST-SOURCE… -- PLUGIN-SOURCE…: and no state is wrong.
build_sane() {
    libs="$1 $(make_value HOST_LIBS) $(make_value LDFLAGS)"
    shift
    mkdir -p "$tmp/o"
    flags="-std=gnu11 -O1 -w -D_GNU_SOURCE -DBLK_STATIC -I$tmp -I$build
        -I$srcdir -I$srcdir/src -I$srcdir/include"
    for f in "$@"; do
        [ "$f" != -- ] || continue
        object "$f" "$tmp/o/$(basename "$f" .c).o"
    done
    link
    if ! "$tmp/crash" --states "$states" >"$tmp/out" 2>&1; then
        cat "$tmp/out"
        echo "it fails without a mutant"
        exit 1
    fi
    printf '%-58s %s\n' "mutant" "how it was seen"
    printf '%-58s %s\n' "none" "not in $states states"
}

# mutant NAME FILE FROM TO [STATES]: in $plugin's FILE.c.
mutant() {
    file=$2 most=${5:-$states}
    copy=$tmp/plugins/$plugin
    mkdir -p "$copy"
    cp "$srcdir/plugins/$plugin"/*.[ch] "$copy/"
    mutate "$1" "$srcdir/plugins/$plugin/$file.c" "$copy/$file.c" "$3" "$4" ||
        return 0
    cp "$tmp/o/$file.o" "$tmp/$file.sane"
    object "$copy/$file.c" "$tmp/o/$file.o"
    link
    # shellcheck disable=SC2086
    run_limited "$tmp/crash" --states "$most" ${options:-}
    verdict "$1" "$(sed -n 's/^FAILED \(seed [0-9]*: [^(]*\).*/\1/p' \
        "$tmp/out" | head -n 1 | cut -c 1-60)" "$most"
    mv "$tmp/$file.sane" "$tmp/o/$file.o"
}
