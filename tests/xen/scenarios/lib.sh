# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What scenarios are written with. Runs in dom0; sourced by dom0/run, which
# sets OUT (results), NAME (the scenario) and BACKEND (who serves the disks).
set -uo pipefail
images=/usr/share/lab
work=/srv/lab
consoles=/var/log/xen/console
backend_changed=

scenario_run() {
    backend "$BACKEND"
    # shellcheck disable=SC1090
    . "/lab/scenarios/$NAME"
    exit 0
}

# ---- saying and checking --------------------------------------------------

note() { printf '[%8.2f] %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$*"; }
show() { note "$*"; echo "$NAME: $*" >> /lab/out/results; }
fail() {
    echo "$*" > "$OUT/reason"
    note "FAIL: $*"
    exit 1
}
skip() {
    echo "$*" > "$OUT/reason"
    exit 77
}
check() { # WHAT COMMAND…
    local what=$1
    shift
    "$@" || fail "$what (failed: $*)"
}
equal() { # WHAT EXPECTED FOUND
    [ "$2" = "$3" ] || fail "$1: expected '$2', found '$3'"
    note "$1: $3"
}
wait_for() { # SECONDS WHAT COMMAND…
    local end=$((SECONDS + $1 * ${SLOW:-1})) what=$2
    shift 2
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "waited in vain: $what"
        nap 0.3
    done
}
# What waits must not take the processor from what it waits for, and to start a
# program costs twenty times as much here as to read a console: so this is sleep
# without one.
exec {nap}<> <(:)
nap() { read -rt "$1" -u "$nap" || :; }

# ---- back-ends ------------------------------------------------------------

backend() { # blktapd | blkback | qdisk: from now on it serves new disks
    BACKEND=$1
    case $BACKEND in
    blkback)
        systemctl stop blktapd 2>/dev/null
        rm -f /etc/modprobe.d/lab.conf
        check "load xen-blkback" modprobe xen-blkback
        ;;
    qdisk) systemctl stop blktapd 2>/dev/null ;;
    blktapd)
        [ -x /usr/sbin/blktapd ] || fail "blktapd is not installed (lab run --tree)"
        # udev loads it as soon as there is a vbd, and then it owns the kind.
        echo 'install xen-blkback /bin/false' > /etc/modprobe.d/lab.conf
        modprobe -r xen-blkback 2>/dev/null
        rm -rf /etc/blktapd.d
        mkdir -p /etc/blktapd.d
        chown blktapd: "$work"
        echo "$DAEMON_CONF" > /etc/blktapd.conf
        backend_changed=restart
        ;;
    *) fail "no back-end $BACKEND" ;;
    esac
}
DAEMON_CONF=${DAEMON_CONF:-'daemon = { kinds = ( "vbd" ); };'}

# disk NAME VDEV PATH [access=r] [chain=CHAIN] [backend=DOMAIN]: sets $spec, the
# line for a guest's configuration. CHAIN is what stands before the tail.
disk() {
    local name=$1 vdev=$2 path=$3 access=rw chain='' domain='' word
    shift 3
    for word in "$@"; do local "${word?}"; done
    spec="format=raw,vdev=$vdev,access=$access${domain:+,backend=$domain}"
    case $BACKEND in
    blkback) spec+=",target=$path" ;;
    qdisk) spec+=",backendtype=qdisk,target=$path" ;;
    blktapd)
        spec+=",script=block-blktapd,target=$name"
        conf_disk "$name" "$chain { plugin = \"file\"; path = \"$path\"; }"
        ;;
    esac
}

conf_disk() { # NAME CHAIN [MORE]: a disk for blktapd
    cat > "/etc/blktapd.d/$1.conf" <<EOF
disks = ( { name = "$1"; ${3:-}
            chain = ( $2 ); } );
EOF
    backend_changed=${backend_changed:-reload}
}

# Let blktapd know what changed; before guests are made.
backend_sync() {
    [ "$BACKEND" = blktapd ] && [ -n "$backend_changed" ] || return 0
    check "$backend_changed blktapd" systemctl "$backend_changed" blktapd
    backend_changed=
    [ "$(systemctl is-active blktapd)" = active ] || fail "blktapd is not active"
}

medium() { # NAME SIZE: sets $path, a fresh raw image
    path=$work/$1.img
    rm -f "$path"
    truncate -s "$2" "$path"
    [ "$BACKEND" != blktapd ] || chown blktapd: "$path"
}
# A Debian guest's root disk nobody has used since power-on: sets $path.
# (/dev/vdc holds the same, read-only.)
debian() {
    local letter
    for letter in d e f g h i; do
        path=/dev/vd$letter
        mkdir "/run/lab/used-$letter" 2>/dev/null && return
    done
    fail "no unused Debian disk is left in this boot"
}
sector4096() { # PATH: sets $path, a loop device of 4096-byte sectors over it
    path=$(losetup --show -f --sector-size 4096 --direct-io=on "$1") ||
        fail "no loop device for $1"
}

# ---- guests ---------------------------------------------------------------

# guest NAME [type=pv|pvh] [boot=small|debian|grub] [memory=MB] [vcpus=N]
#       [extra=WORDS] [job=FILE] [add=FILE…] [disk=SPEC]…
# creates it and returns; add: files for the root of the small guest.
guest() {
    local name=$1 type=pv boot=small memory=256 vcpus=1 extra='' job='' add='' word
    local disks=() kernel="kernel = '$images/vmlinux'"
    shift
    for word in "$@"; do
        case $word in
        disk=*) disks+=("'${word#*=}',") ;;
        *) local "${word?}" ;;
        esac
    done
    [ "$boot" = grub ] && kernel="kernel = '/usr/lib/grub-xen/grub-x86_64-xen.bin'"
    [ "$boot" = grub ] || kernel+="
ramdisk = '$(guest_initrd "$name" "$boot" "$job" "$add")'
extra = 'console=hvc0 quiet panic=-1 $extra'"
    cat > "$work/$name.cfg" <<EOF
name = '$name'
type = '$type'
$kernel
memory = $memory
vcpus = $vcpus
disk = [ ${disks[*]} ]
on_poweroff = 'destroy'
on_reboot = 'destroy'
on_crash = 'destroy'
${GUEST_MORE:-}
EOF
    backend_sync
    rm -f "$consoles/guest-$name.log"
    note "create $name ($type, $boot)"
    # shellcheck disable=SC2086
    xl create -q ${GUEST_CREATE:-} "$work/$name.cfg" || fail "xl create $name"
}

# The initrd of a guest: the one of its kind with the job after it.
guest_initrd() { # NAME BOOT JOB FILES
    local base=$images/guest.cpio dir=$work/$1.job
    [ "$2" = small ] || base=$images/root.cpio
    mkdir -p "$dir"
    cp "${3:-/dev/null}" "$dir/job" 2>/dev/null
    # shellcheck disable=SC2086
    [ -z "$4" ] || cp $4 "$dir/"
    cp "$base" "$work/$1.cpio"
    [ -z "$3" ] || (cd "$dir" && ls | busybox cpio -o -H newc 2>/dev/null) \
        >> "$work/$1.cpio"
    echo "$work/$1.cpio"
}

job() { # NAME: standard input becomes a job; sets $job
    job=$work/$1.sh
    cat > "$job"
}

console() { cat "$consoles/guest-$1.log" 2>/dev/null | tr -d '\r'; }
said() { # NAME PATTERN: in a line of its console; without a program
    local line lines
    { mapfile -t lines < "$consoles/guest-$1.log"; } 2>/dev/null || return
    for line in "${lines[@]}"; do
        [[ ! $line =~ $2 ]] || return 0
    done
    return 1
}
# A job that goes on while `[ ! -e /sys/block/xvdc ]`: tell it to stop.
guest_stop() {
    local spec path
    medium stop 1M
    disk stop xvdc "$path"
    backend_sync
    check "attach the stop sign" xl block-attach "$1" "$spec"
}
alive() { xl domid "$1" > /dev/null 2>&1; }
# xl is dear: whether it died without a word is asked every five seconds.
asked=0
ended() {
    ! said "$1" '^LAB-JOB-END [0-9]+ ' || return 0
    [ $((SECONDS - asked)) -ge 5 ] || return 1
    asked=$SECONDS
    ! alive "$1"
}

# Wait for the end of a guest's job; its status must be 0; then it goes.
guest_end() { # NAME SECONDS
    local status
    wait_for "$2" "the job of $1 (its console: $(console "$1" | tail -n 1))" ended "$1"
    console "$1" > "$OUT/$1.console"
    status=$(console "$1" | sed -n 's/^LAB-JOB-END \([0-9]*\).*/\1/p')
    [ -n "$status" ] || fail "guest $1 died: $(console "$1" | tail -n 1)"
    [ "$status" = 0 ] ||
        fail "job of $1: status $status: $(console "$1" | grep -v ^LAB | tail -n 1)"
    guest_gone "$1"
}
guest_gone() { # NAME: it has 20 s to go by itself
    local end=$((SECONDS + 20))
    while alive "$1"; do
        [ $SECONDS -lt $end ] || { xl destroy "$1"; break; }
        nap 0.5
    done
    note "$1 is gone"
}
