# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=sh disable=SC2016,SC2154
#
# mutants.sh: plugins with one fault at a time put into a copy of them, and a
# program that makes crash states with them until one is wrong.  A mutant that
# survives is a failure, and so is one whose text is not found any more.
srcdir=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
srcdir=$(cd "$srcdir" && pwd)
build=$(cd "${top_builddir:-.}" && pwd)
states=${STATES:-3000}
cc=${CC:-cc}
failed=0 mutants=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT INT TERM

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

# mutant NAME FILE FROM TO [STATES]: FROM, literally, is replaced once in
# $plugin's FILE.c.
mutant() {
    name=$1 file=$2 from=$3 to=$4 most=${5:-$states}
    copy=$tmp/plugins/$plugin
    mutants=$((mutants + 1))
    mkdir -p "$copy"
    cp "$srcdir/plugins/$plugin"/*.[ch] "$copy/"
    if ! FROM=$from TO=$to awk '
        BEGIN { RS = "\001"; from = ENVIRON["FROM"]; to = ENVIRON["TO"] }
        {
            at = index($0, from)
            if (!at) exit 1
            printf "%s%s%s", substr($0, 1, at - 1), to,
                substr($0, at + length(from))
        }' "$srcdir/plugins/$plugin/$file.c" >"$copy/$file.c"; then
        echo "$name: $file.c no longer has: $from"
        failed=1
        return
    fi
    cp "$tmp/o/$file.o" "$tmp/$file.sane"
    object "$copy/$file.c" "$tmp/o/$file.o"
    link
    status=0
    # shellcheck disable=SC2086
    timeout 120 "$tmp/crash" --states "$most" ${options:-} >"$tmp/out" 2>&1 || status=$?
    seen=$(sed -n 's/^FAILED \(seed [0-9]*: [^(]*\).*/\1/p' "$tmp/out" |
        head -n 1 | cut -c 1-60)
    if [ "$status" -eq 0 ]; then
        seen="SURVIVED $most"
        failed=1
    elif [ "$status" -eq 124 ]; then
        seen="hangs"
    fi
    printf '%-58s %s\n' "$name" "$seen"
    mv "$tmp/$file.sane" "$tmp/o/$file.o"
}

mutants_end() {
    echo "$mutants mutants"
    exit $failed
}
