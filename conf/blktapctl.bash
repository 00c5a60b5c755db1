# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion of blktapctl(1)

_blktapctl_disks()
{
    blktapctl --json list 2>/dev/null |
        sed -n 's/^ *"disk": *"\([^"]*\)".*/\1/p' | sort -u
}

_blktapctl_words()
{
    # shellcheck disable=SC2207
    COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

_blktapctl_options()
{
    case $1 in
    copy) echo --depth --piece --verify --partial --target-is-zero --quiet ;;
    bench)
        echo --rw --bs --depth --queues --time --mix --yes-destroy-data
        ;;
    top) echo --interval --count ;;
    events) echo -f --follow ;;
    esac
    echo --json --help
}

_blktapctl()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local command='' place=0 i word
    local commands="list show stats top events metrics attach detach interpose pause
        resume recover resize chain mode layer copy map bench plugins config reload log version"

    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == --socket ]]; then
            i=$((i + 1))
        elif [[ -n $command && $word != -* ]]; then
            place=$((place + 1))
        elif [[ $word != -* ]]; then
            command=$word
        fi
    done
    case $prev in
    --socket) compopt -o default; return ;;
    --rw) _blktapctl_words "read write randread randwrite randrw"; return ;;
    --depth | --piece | --bs | --queues | --time | --mix | --interval | --count)
        return ;;
    esac
    if [[ -z $command ]]; then
        _blktapctl_words "$commands --socket --json --version --help"
        return
    fi
    if [[ $cur == -* ]]; then
        _blktapctl_words "$(_blktapctl_options "$command")"
        return
    fi
    case $command:$place in
    show:0 | stats:0 | pause:0 | resume:0 | recover:0 | resize:0 | \
        chain:0 | mode:0 | layer:0 | map:0 | bench:0 | attach:0)
        _blktapctl_words "$(_blktapctl_disks)"
        ;;
    copy:0 | copy:1)
        _blktapctl_words "$(_blktapctl_disks)"
        compopt -o default
        ;;
    chain:1)
        _blktapctl_words "show insert replace remove reset snapshot commit"
        ;;
    mode:1) _blktapctl_words "passthrough interpose intercept" ;;
    log:0) _blktapctl_words "err warn info debug" ;;
    attach:3) _blktapctl_words ro ;;
    detach:2) _blktapctl_words force ;;
    esac
}

complete -F _blktapctl blktapctl
