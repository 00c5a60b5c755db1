# SPDX-License-Identifier: LGPL-2.1-or-later
# areas.sh: how the tests of each area are found and run.
#
#   unit sim fuzz functional lint   programs of `make list-tests`
#   build                           whole builds: compilers, sanitizers, dist
#   xen                             scenarios of the lab (tests/xen)

build_tests="build/clang build/sanitize build/coverage build/distcheck"

all_tests()
{
    make -s -C "$build" list-tests |
        sed 's#^.*tests/##; s#^plugins/#plugins/#; s#\.test$##' | sort
    printf '%s\n' $build_tests
    tests/xen/lab list | sed 's#^#xen/#'
}

# reason LOG: its end, and before it what tells of a failure further up: a
# check of tests/test.h or of ctl.sh, a sanitizer, a program of a build.
reason()
{
    head -n -25 "$1" | grep -aE '^(FAIL|FAILED|not ok|line [0-9]+:) |'\
'[^ ]\.[ch]:[0-9]+: |Sanitizer|runtime error:|Assertion|: error: |\*\*\* ' |
        grep -v '^blktapd: ' | head -n 20 | cut -c 1-400
    tail -n 25 "$1"
}

# result NAME STATUS SECONDS: one line for the person, one for the count.
result()
{
    local word=pass

    case $2 in
    0) ;;
    77) word=skip ;;
    *) word=fail ;;
    esac
    echo "$word $1" >>"$results"
    printf '%-5s %s (%s s)\n' "$word" "$1" "$3"
    if [ $word = fail ]; then
        reason "$logs/$1.log" | sed 's/^/      | /'
    elif [ $word = skip ]; then
        tail -n 1 "$logs/$1.log" | sed 's/^/      | /'
    fi
}

# The program of a test: in the build folder if it was built, else a script.
test_program()
{
    local p

    for p in "$build/tests/$1" "$top/tests/$1" "$build/$1" "$top/$1" \
        "$top/tests/$1.test"; do
        [ -x "$p" ] && [ ! -d "$p" ] && { echo "$p"; return; }
    done
    echo "$build/tests/$1"
}

run_program()
{
    local t0=$SECONDS limit=2400 rc # many times what any needs: machines differ

    [ -z "${CHECK_LONG:-}" ] || limit=7200
    # Worlds come and go: their memory is kept, not given back each time.
    case $1 in
    sim/*)
        export MALLOC_TRIM_THRESHOLD_=$((256 << 20))
        export MALLOC_MMAP_THRESHOLD_=$((32 << 20))
        ;;
    esac
    mkdir -p "$(dirname "$logs/$1.log")"
    ( cd "$build" && srcdir=$top top_srcdir=$top top_builddir=$build \
        BLKTAPD_PLUGINDIR=$build/.plugins MALLOC_PERTURB_=$((RANDOM % 255 + 1)) \
        timeout -k 10 "$limit" "$(test_program "$1")" ) \
        >"$logs/$1.log" 2>&1 </dev/null
    rc=$?
    [ $rc != 124 ] || echo "over its time limit of $limit s" >>"$logs/$1.log"
    result "$1" $rc $((SECONDS - t0))
}

# Modules of an uninstalled build, where BLKTAPD_PLUGINDIR can name them.
link_plugins()
{
    rm -rf "$1/.plugins"
    mkdir -p "$1/.plugins"
    find "$1/plugins" -name '*.so' -path '*/.libs/*' -exec ln -sf -t "$1/.plugins" {} +
}

# side_by_side COMMAND ARGUMENT...: COMMAND with each, as many at a time as
# there are processors.
side_by_side()
{
    local command=$1 n

    shift
    (
        for n in "$@"; do
            while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
            "$command" "$n" &
        done
        wait
    )
}

# ---- build ------------------------------------------------------------------

# What it warns of, it knows before it optimizes; nothing of it is run.  The
# targets of the fuzzer are clang's in any build: they are made once.
build_clang()
{
    build_tree "$build-clang" --enable-werror CC=clang CXX=clang++ \
        CFLAGS=-O0 &&
        make -s -C "$build-clang" -j"$(nproc)" check-build FUZZ_TARGETS=
}

# The unit and simulation tests again, under ASan and UBSan.
build_sanitize()
{
    build_tree "$build-sanitize" --enable-werror --enable-sanitize \
        CFLAGS='-O1 -g' &&
        make -s -C "$build-sanitize" -j"$(nproc)" check-build FUZZ_TARGETS= ||
        return 1
    link_plugins "$build-sanitize"
    rm -f "$build-sanitize/failed"
    # shellcheck disable=SC2046
    side_by_side sanitized $(make -s -C "$build-sanitize" list-tests |
        grep -E '(unit|sim)/')
    [ ! -e "$build-sanitize/failed" ]
}

sanitized()
{
    local log=$build-sanitize/$1.out

    [ -x "$build-sanitize/$1" ] || return 0
    ( cd "$build-sanitize" && srcdir=$top top_srcdir=$top \
        top_builddir=$build-sanitize SANITIZED=1 \
        BLKTAPD_PLUGINDIR=$build-sanitize/.plugins \
        ASAN_OPTIONS=detect_leaks=1 timeout 1200 "./$1" ) >"$log" 2>&1
    case $? in
    0|77) echo "-- $1" ;;
    124) echo "FAILED $1: over its time limit of 1200 s"
        tail -n 40 "$log"; touch "$build-sanitize/failed" ;;
    *) echo "FAILED $1"; tail -n 40 "$log"; touch "$build-sanitize/failed" ;;
    esac
}

# Branches of the channel, recovery and config commit that no test takes: each
# is named in tests/coverage/explained.  Only unit tests are counted: what they
# take does not depend on the speed of the machine.
build_coverage()
{
    local dir=$build-coverage t tests

    mkdir -p "$dir"
    [ -f "$dir/Makefile" ] || ( cd "$dir" &&
        "$top/configure" -q CC=gcc CFLAGS='-O0 -g --coverage' ) || return 1
    tests=$(make -s -C "$dir" list-tests | grep -v scramble |
        grep -E 'unit/((channel|config|disk|xenbus)_|daemon_[klr])')
    # shellcheck disable=SC2086
    make -s -C "$dir" -j"$(nproc)" $tests || return 1
    find "$dir" -name '*.gcda' -delete
    for t in $tests; do
        ( cd "$dir" && srcdir=$top top_srcdir=$top top_builddir=$dir \
            timeout 1200 "./$t" ) \
            >"$dir/test.log" 2>&1 || { cat "$dir/test.log"; return 1; }
    done
    tests/coverage/branches "$dir" "$top" tests/coverage/explained \
        'src/channel/*.c' src/disk/tables.c src/disk/disks.c \
        src/disk/unit_mend.c src/keep.c src/config/diff.c src/config/copy.c \
        src/config/live.c src/reload.c src/lastconf.c src/xenbus/resume.c
}

# A tarball builds, installs, uninstalls and leaves nothing behind.  Its tests
# are those of the tree, which are run anyway: one stands for all.  So are the
# compiler's warnings, which are others when it does not optimize.
build_distcheck()
{
    make -s -C "$build" -j"$(nproc)" distcheck TESTS=tests/unit/disk_jobs \
        AM_DISTCHECK_CONFIGURE_FLAGS=CFLAGS=-O0
}

run_build()
{
    local t0=$SECONDS n=${1#build/} rc

    mkdir -p "$logs/build"
    "build_$n" >"$logs/$1.log" 2>&1
    rc=$?
    result "$1" $rc $((SECONDS - t0))
}

# ---- xen --------------------------------------------------------------------

# The images of the lab are made while the other tests run.
prepare_lab()
{
    nice tests/xen/lab build >"$build-lab.log" 2>&1 &
    lab_pid=$!
}

# What is installed in dom0.
stage()
{
    # shellcheck disable=SC2086
    { build_tree "$build-install" $install_options &&
        stage_tree "$build-install/tree"; } >"$logs/stage.log" 2>&1
}

run_xen()
{
    local n why=

    mkdir -p "$logs/xen"
    wait "$lab_pid" || why=$build-lab.log
    [ -e "$build-install/tree/usr" ] || why=$logs/stage.log
    if [ -n "$why" ]; then
        for n in "$@"; do
            cp "$why" "$logs/$n.log"
            result "$n" 1 0
        done
        return
    fi
    tests/xen/check --tree "$build-install/tree" --logs "$logs/xen" \
        "${@#xen/}" |
        while read -r word n secs; do
            case $word in
            pass) result "xen/$n" 0 "$secs" ;;
            skip) result "xen/$n" 77 "$secs" ;;
            fail) result "xen/$n" 1 "$secs" ;;
            *) echo "      $word $n $secs" ;;
            esac
        done
}

# ---- all ----------------------------------------------------------------------

run_one()
{
    case $1 in
    build/*) run_build "$1" ;;
    stage) stage ;;
    *) run_program "$1" ;;
    esac
}

# Ten million executions take what the other programs leave, many of which
# mostly wait, and both processors when those are over.
fill()
{
    renice -n 5 $BASHPID >/dev/null
    run_one fuzz/ring
}

run_areas()
{
    local n filler= programs=() alone=() builds=() xens=()

    for n in "$@"; do
        case $n in
        fuzz/ring) fill & filler=$! ;;
        build/*) builds+=("$n") ;;
        xen/*) xens+=("$n") ;;
        functional/isolation) alone+=("$n") ;; # what it prints is measured
        *) programs+=("$n") ;;
        esac
    done
    link_plugins "$build"
    rm -rf "$build-install/tree"
    [ ${#xens[@]} = 0 ] || programs=(stage "${programs[@]}")
    [ ${#programs[@]} = 0 ] || side_by_side run_one "${programs[@]}"
    [ -z "$filler" ] || wait "$filler"
    for n in "${alone[@]}"; do run_one "$n"; done
    phase programs
    [ ${#builds[@]} = 0 ] || side_by_side run_one "${builds[@]}"
    phase builds
    # Alone: limits of time are those of a machine that has nothing else to do.
    [ ${#xens[@]} = 0 ] || run_xen "${xens[@]}"
    phase xen
}
