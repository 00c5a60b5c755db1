# SPDX-License-Identifier: LGPL-2.1-or-later
# lib.sh: what quickstart and check share: packages, build, staged tree.
# Sourced with $top set to the top of the tree.

build=${BLKTAPD_BUILD:-$top/build}

say() { printf '%s\n' "== $*"; }

# phase NAME: says what has passed since the last.
phase_began=$SECONDS
phase()
{
    say "phase $1: $((SECONDS - phase_began)) s"
    phase_began=$SECONDS
}

die()
{
    printf '%s\n' "$*" >&2
    exit 1
}

# need_packages FILE...: installs what is missing of the lists.
need_packages()
{
    local want missing p

    want=$(grep -hv '^#' "$@" | sort -u)
    missing=
    for p in $want; do
        dpkg-query -W -f='${Status}\n' "$p" 2>/dev/null |
            grep -q 'install ok installed' || missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || die "root is needed to install:$missing"
    say "installing:$missing"
    apt-get update -qq >/dev/null || die "apt-get update failed"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends $missing >"$top/.apt.log" 2>&1 ||
        { tail -20 "$top/.apt.log"; die "apt-get install failed"; }
    rm -f "$top/.apt.log"
}

# build_tree DIR [configure options]: configures once, then makes.
build_tree()
{
    local dir=$1

    shift
    [ -x "$top/configure" ] && [ "$top/configure" -nt "$top/configure.ac" ] ||
        "$top/autogen.sh" >"$top/.autogen.log" 2>&1 ||
        { cat "$top/.autogen.log"; return 1; }
    rm -f "$top/.autogen.log"
    mkdir -p "$dir"
    (
        cd "$dir" || exit 1
        [ -f Makefile ] || "$top/configure" -q "$@" || exit 1
        make -s -j"$(nproc)" all
    )
}

# stage_tree DIR: our `make install` tree, as a Debian system would have it.
# The paths are those of the build that was configured for it.
stage_tree()
{
    rm -rf "$1"
    make -s -C "$build-install" install DESTDIR="$1" >"$build-install/install.log" 2>&1 ||
        { tail -20 "$build-install/install.log"; return 1; }
}

# The options of a system-wide installation.
install_options="--prefix=/usr --sysconfdir=/etc --localstatedir=/var"
