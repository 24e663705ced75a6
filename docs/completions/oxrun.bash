# Made of oxrun's table of commands and flags by `cargo run --package oxrun --example docs`.

_oxrun_offer() {
    COMPREPLY=($(compgen "$@" -- "$cur"))
}

_oxrun_files() {
    local IFS=$'\n'
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen "$@" -- "$cur"))
}

_oxrun() {
    local cur=${COMP_WORDS[COMP_CWORD]} flag= command= count=0 word i
    local -a globals=()
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then
            # `--flag=value` is three words to the shell.
            continue
        elif [[ -n $flag ]]; then
            [[ $flag == --root ]] && globals=(--root "$word")
            flag=
        elif _oxrun_takes_value "$command" "$word"; then
            flag=$word
        elif [[ $word == -* ]]; then
            :
        elif [[ -z $command ]]; then
            command=$word
        else
            ((count++))
        fi
    done
    [[ $cur == = ]] && cur=
    if [[ -n $flag ]]; then
        _oxrun_value "$command" "$flag"
    elif ((count)) && [[ " exec ps try " == *" $command "* ]]; then
        # What stands here belongs to another program.
        _oxrun_files -f
    elif [[ $cur == -* ]]; then
        _oxrun_flags "$command"
    else
        _oxrun_word "$command" "$count"
    fi
}

_oxrun_takes_value() {
    case "$1 $2" in
    " --log" | " --log-format" | " --log-level" | " --root" | " --cgroup-manager" | " --rootless") return 0 ;;
    "create --bundle" | "create -b" | "create --console-socket" | "create --pidfd-socket" | "create --pid-file" | "create --preserve-fds") return 0 ;;
    "run --bundle" | "run -b" | "run --console-socket" | "run --pidfd-socket" | "run --pid-file" | "run --preserve-fds") return 0 ;;
    "exec --console-socket" | "exec --pidfd-socket" | "exec --cwd" | "exec --env" | "exec -e" | "exec --user" | "exec -u" | "exec --additional-gids" | "exec -g" | "exec --process" | "exec -p" | "exec --pid-file" | "exec --process-label" | "exec --apparmor" | "exec --cap" | "exec -c" | "exec --preserve-fds" | "exec --cgroup") return 0 ;;
    "list --format" | "list -f") return 0 ;;
    "ps --format" | "ps -f") return 0 ;;
    "update --resources" | "update -r" | "update --blkio-weight" | "update --cpu-period" | "update --cpu-quota" | "update --cpu-burst" | "update --cpu-idle" | "update --cpu-share" | "update --cpu-rt-period" | "update --cpu-rt-runtime" | "update --cpuset-cpus" | "update --cpuset-mems" | "update --memory" | "update --memory-reservation" | "update --memory-swap" | "update --pids-limit" | "update --l3-cache-schema" | "update --mem-bw-schema") return 0 ;;
    "events --interval") return 0 ;;
    "spec --bundle" | "spec -b") return 0 ;;
    "explain --bundle" | "explain -b") return 0 ;;
    "check --bundle" | "check -b" | "check --format" | "check -f") return 0 ;;
    esac
    return 1
}

_oxrun_value() {
    case "$1 $2" in
    " --log") _oxrun_files -f ;;
    " --log-format") _oxrun_offer -W "text json" ;;
    " --log-level") _oxrun_offer -W "error warning info debug" ;;
    " --root") _oxrun_files -d ;;
    " --cgroup-manager") _oxrun_offer -W "cgroupfs systemd disabled" ;;
    " --rootless") _oxrun_offer -W "true false auto" ;;
    "create --bundle" | "create -b") _oxrun_files -d ;;
    "create --console-socket") _oxrun_files -f ;;
    "create --pidfd-socket") _oxrun_files -f ;;
    "create --pid-file") _oxrun_files -f ;;
    "run --bundle" | "run -b") _oxrun_files -d ;;
    "run --console-socket") _oxrun_files -f ;;
    "run --pidfd-socket") _oxrun_files -f ;;
    "run --pid-file") _oxrun_files -f ;;
    "exec --console-socket") _oxrun_files -f ;;
    "exec --pidfd-socket") _oxrun_files -f ;;
    "exec --process" | "exec -p") _oxrun_files -f ;;
    "exec --pid-file") _oxrun_files -f ;;
    "list --format" | "list -f") _oxrun_offer -W "table json" ;;
    "ps --format" | "ps -f") _oxrun_offer -W "table json" ;;
    "update --resources" | "update -r") _oxrun_files -f ;;
    "spec --bundle" | "spec -b") _oxrun_files -d ;;
    "explain --bundle" | "explain -b") _oxrun_files -d ;;
    "check --bundle" | "check -b") _oxrun_files -d ;;
    "check --format" | "check -f") _oxrun_offer -W "text json" ;;
    esac
}

_oxrun_flags() {
    case "$1" in
    "") _oxrun_offer -W "--debug --log --log-format --log-level --root --systemd-cgroup --cgroup-manager --rootless --help -h --version -v" ;;
    "create") _oxrun_offer -W "--bundle -b --console-socket --pidfd-socket --pid-file --no-pivot --no-new-keyring --preserve-fds --help -h" ;;
    "run") _oxrun_offer -W "--bundle -b --console-socket --pidfd-socket --pid-file --detach -d --keep --no-subreaper --no-pivot --no-new-keyring --preserve-fds --help -h" ;;
    "start") _oxrun_offer -W "--help -h" ;;
    "state") _oxrun_offer -W "--help -h" ;;
    "kill") _oxrun_offer -W "--all -a --help -h" ;;
    "delete") _oxrun_offer -W "--force -f --help -h" ;;
    "exec") _oxrun_offer -W "--console-socket --pidfd-socket --cwd --env -e --tty -t --user -u --additional-gids -g --process -p --detach -d --pid-file --process-label --apparmor --no-new-privs --cap -c --preserve-fds --cgroup --ignore-paused --help -h" ;;
    "list") _oxrun_offer -W "--format -f --quiet -q --help -h" ;;
    "ps") _oxrun_offer -W "--format -f --help -h" ;;
    "pause") _oxrun_offer -W "--help -h" ;;
    "resume") _oxrun_offer -W "--help -h" ;;
    "update") _oxrun_offer -W "--resources -r --blkio-weight --cpu-period --cpu-quota --cpu-burst --cpu-idle --cpu-share --cpu-rt-period --cpu-rt-runtime --cpuset-cpus --cpuset-mems --memory --memory-reservation --memory-swap --pids-limit --l3-cache-schema --mem-bw-schema --help -h" ;;
    "events") _oxrun_offer -W "--interval --stats --help -h" ;;
    "spec") _oxrun_offer -W "--bundle -b --rootless --help -h" ;;
    "features") _oxrun_offer -W "--help -h" ;;
    "explain") _oxrun_offer -W "--bundle -b --json --help -h" ;;
    "check") _oxrun_offer -W "--bundle -b --format -f --help -h" ;;
    "try") _oxrun_offer -W "--help -h" ;;
    esac
}

_oxrun_word() {
    case "$1 $2" in
    " 0" | "help 0") _oxrun_offer -W "create run start state kill delete exec list ps pause resume update events spec features explain check try help" ;;
    "kill 1") _oxrun_offer -W "HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS RTMIN RTMAX" ;;
    "start 0" | "state 0" | "kill 0" | "delete 0" | "exec 0" | "ps 0" | "pause 0" | "resume 0" | "update 0" | "events 0")
        _oxrun_offer -W "$("${COMP_WORDS[0]}" "${globals[@]}" list --quiet 2>/dev/null)" ;;
    "check 0") _oxrun_files -d ;;
    "try 0") _oxrun_offer -c ;;
    esac
}

complete -F _oxrun oxrun
