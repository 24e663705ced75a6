# Made of oxrun's table of commands and flags by `cargo run --package oxrun --example docs`.

function __oxrun_words
    # The command and what follows it, without options before it.
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case --log --log-format --log-level --root --cgroup-manager --rootless
                set -e words[1]
            case '-*'
            case '*'
                printf '%s\n' $words
                return 0
        end
        set -e words[1]
    end
    return 1
end

function __oxrun_command
    set -l words (__oxrun_words)
    and contains -- "$words[1]" $argv
end

function __oxrun_ids
    set -l words (commandline -opc)
    set -l globals
    if set -l at (contains -i -- --root $words)
        set globals --root $words[(math $at + 1)]
    end
    command -q $words[1]
    and $words[1] $globals list --quiet 2>/dev/null
end

complete -c oxrun -f
complete -c oxrun -n 'not __oxrun_words >/dev/null' -l debug -d 'write debug records to the log'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -l log -r -F -d 'append log records to FILE (default: standard error)'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -l log-format -x -a 'text json' -d 'form of log records (default: text)'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -l log-level -x -a 'error warning info debug' -d 'least severe record (default: warning, error in a file)'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -l root -x -a '(__fish_complete_directories)' -d 'where the state of containers is kept, best on a tmpfs (default: /run/oxrun, or $XDG_RUNTIME_DIR/oxrun without root)'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -l systemd-cgroup -d 'let systemd make the cgroups; cgroupsPath is then "slice:prefix:name"'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -l cgroup-manager -x -a 'cgroupfs systemd disabled' -d 'who makes the cgroups (default: cgroupfs)'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -l rootless -x -a 'true false auto' -d 'go on without the cgroups one may not touch (default: auto)'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -l help -s h -d 'show this help'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -l version -s v -d 'print the version'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a create -d 'create a container'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a run -d 'create a container and run its program'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a start -d 'run the program of a created container'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a state -d 'print the state of a container as JSON'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a kill -d 'send a signal to the container\'s first process'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a delete -d 'remove a container that has stopped or was never started'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a exec -d 'run another program in a container'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a list -d 'list the containers of this state root'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a ps -d 'list the processes of a container'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a pause -d 'freeze all processes of a container'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a resume -d 'let the processes of a paused container go on'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a update -d 'change the limits of a container'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a events -d 'print usage figures and OOM kills of a container'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a spec -d 'write a config.json to start from'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a features -d 'print what this runtime can do as JSON'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a explain -d 'print what create would do, without doing it'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a check -d 'look for what would make a container fail, without creating it'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a try -d 'run a program in a container made of this host\'s files (default: sh)'
complete -c oxrun -n 'not __oxrun_words >/dev/null' -a help -d 'show the help of a command'
complete -c oxrun -n '__oxrun_command create' -l bundle -s b -x -a '(__fish_complete_directories)' -d 'the bundle (default: the working directory)'
complete -c oxrun -n '__oxrun_command create' -l console-socket -r -F -d 'send the terminal\'s master to this unix socket'
complete -c oxrun -n '__oxrun_command create' -l pidfd-socket -r -F -d 'send a pidfd of the process to this unix socket'
complete -c oxrun -n '__oxrun_command create' -l pid-file -r -F -d 'write the pid of the process to FILE'
complete -c oxrun -n '__oxrun_command create' -l no-pivot -d 'move the root instead of exchanging it, for a rootfs on a ramdisk'
complete -c oxrun -n '__oxrun_command create' -l no-new-keyring -d 'keep the caller\'s session keyring in the container'
complete -c oxrun -n '__oxrun_command create' -l preserve-fds -x -d 'pass N more file descriptors, beside standard ones and $LISTEN_FDS (default: 0)'
complete -c oxrun -n '__oxrun_command create' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command run' -l bundle -s b -x -a '(__fish_complete_directories)' -d 'the bundle (default: the working directory)'
complete -c oxrun -n '__oxrun_command run' -l console-socket -r -F -d 'send the terminal\'s master to this unix socket'
complete -c oxrun -n '__oxrun_command run' -l pidfd-socket -r -F -d 'send a pidfd of the process to this unix socket'
complete -c oxrun -n '__oxrun_command run' -l pid-file -r -F -d 'write the pid of the process to FILE'
complete -c oxrun -n '__oxrun_command run' -l detach -s d -d 'return once the program runs'
complete -c oxrun -n '__oxrun_command run' -l keep -d 'do not delete the container when its program ends'
complete -c oxrun -n '__oxrun_command run' -l no-subreaper -d 'do not become the reaper of orphans'
complete -c oxrun -n '__oxrun_command run' -l no-pivot -d 'move the root instead of exchanging it, for a rootfs on a ramdisk'
complete -c oxrun -n '__oxrun_command run' -l no-new-keyring -d 'keep the caller\'s session keyring in the container'
complete -c oxrun -n '__oxrun_command run' -l preserve-fds -x -d 'pass N more file descriptors, beside standard ones and $LISTEN_FDS (default: 0)'
complete -c oxrun -n '__oxrun_command run' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command start' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command start' -a '(__oxrun_ids)'
complete -c oxrun -n '__oxrun_command state' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command state' -a '(__oxrun_ids)'
complete -c oxrun -n '__oxrun_command kill' -l all -s a -d 'send it to every process of the container'
complete -c oxrun -n '__oxrun_command kill' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command kill' -a '(__oxrun_ids)'
complete -c oxrun -n '__oxrun_command delete' -l force -s f -d 'kill it first; one that does not exist is no error'
complete -c oxrun -n '__oxrun_command delete' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command delete' -a '(__oxrun_ids)'
complete -c oxrun -n '__oxrun_command exec' -l console-socket -r -F -d 'send the terminal\'s master to this unix socket'
complete -c oxrun -n '__oxrun_command exec' -l pidfd-socket -r -F -d 'send a pidfd of the process to this unix socket'
complete -c oxrun -n '__oxrun_command exec' -l cwd -x -d 'working directory in the container'
complete -c oxrun -n '__oxrun_command exec' -l env -s e -x -d 'add to the environment, may be repeated'
complete -c oxrun -n '__oxrun_command exec' -l tty -s t -d 'give the program a terminal'
complete -c oxrun -n '__oxrun_command exec' -l user -s u -x -d 'user of the program, in numbers'
complete -c oxrun -n '__oxrun_command exec' -l additional-gids -s g -x -d 'a further group, may be repeated'
complete -c oxrun -n '__oxrun_command exec' -l process -s p -r -F -d 'read the whole process from FILE, as JSON'
complete -c oxrun -n '__oxrun_command exec' -l detach -s d -d 'return once the program runs'
complete -c oxrun -n '__oxrun_command exec' -l pid-file -r -F -d 'write the pid of the process to FILE'
complete -c oxrun -n '__oxrun_command exec' -l process-label -x -d 'SELinux label of the program'
complete -c oxrun -n '__oxrun_command exec' -l apparmor -x -d 'AppArmor profile of the program'
complete -c oxrun -n '__oxrun_command exec' -l no-new-privs -d 'the program can gain no privileges'
complete -c oxrun -n '__oxrun_command exec' -l cap -s c -x -d 'add a capability, may be repeated'
complete -c oxrun -n '__oxrun_command exec' -l preserve-fds -x -d 'pass N more file descriptors, beside standard ones and $LISTEN_FDS (default: 0)'
complete -c oxrun -n '__oxrun_command exec' -l cgroup -x -d 'an existing cgroup below the container\'s, may be repeated'
complete -c oxrun -n '__oxrun_command exec' -l ignore-paused -d 'in a paused container: wait until it is resumed'
complete -c oxrun -n '__oxrun_command exec' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command exec' -a '(__oxrun_ids)'
complete -c oxrun -n '__oxrun_command list' -l format -s f -x -a 'table json' -d 'how it is printed (default: table)'
complete -c oxrun -n '__oxrun_command list' -l quiet -s q -d 'ids only'
complete -c oxrun -n '__oxrun_command list' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command ps' -l format -s f -x -a 'table json' -d 'how it is printed (default: table)'
complete -c oxrun -n '__oxrun_command ps' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command ps' -a '(__oxrun_ids)'
complete -c oxrun -n '__oxrun_command pause' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command pause' -a '(__oxrun_ids)'
complete -c oxrun -n '__oxrun_command resume' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command resume' -a '(__oxrun_ids)'
complete -c oxrun -n '__oxrun_command update' -l resources -s r -r -F -d 'read linux.resources from FILE, or - for standard input, and ignore the rest'
complete -c oxrun -n '__oxrun_command update' -l blkio-weight -x -d 'weight of block I/O, 10 to 1000'
complete -c oxrun -n '__oxrun_command update' -l cpu-period -x -d 'period of the CPU quota'
complete -c oxrun -n '__oxrun_command update' -l cpu-quota -x -d 'CPU time per period'
complete -c oxrun -n '__oxrun_command update' -l cpu-burst -x -d 'CPU time that may be saved up'
complete -c oxrun -n '__oxrun_command update' -l cpu-idle -x -d '1: run only when the CPU is idle'
complete -c oxrun -n '__oxrun_command update' -l cpu-share -x -d 'CPU shares, relative to other containers'
complete -c oxrun -n '__oxrun_command update' -l cpu-rt-period -x -d 'period of the real-time CPU time'
complete -c oxrun -n '__oxrun_command update' -l cpu-rt-runtime -x -d 'real-time CPU time per period'
complete -c oxrun -n '__oxrun_command update' -l cpuset-cpus -x -d 'CPUs to use'
complete -c oxrun -n '__oxrun_command update' -l cpuset-mems -x -d 'memory nodes to use'
complete -c oxrun -n '__oxrun_command update' -l memory -x -d 'memory limit'
complete -c oxrun -n '__oxrun_command update' -l memory-reservation -x -d 'soft memory limit'
complete -c oxrun -n '__oxrun_command update' -l memory-swap -x -d 'limit of memory and swap together'
complete -c oxrun -n '__oxrun_command update' -l pids-limit -x -d 'limit of tasks'
complete -c oxrun -n '__oxrun_command update' -l l3-cache-schema -x -d 'Intel RDT schema of the L3 cache'
complete -c oxrun -n '__oxrun_command update' -l mem-bw-schema -x -d 'Intel RDT schema of memory bandwidth'
complete -c oxrun -n '__oxrun_command update' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command update' -a '(__oxrun_ids)'
complete -c oxrun -n '__oxrun_command events' -l interval -x -d 'time between two figures (default: 5s)'
complete -c oxrun -n '__oxrun_command events' -l stats -d 'print the figures once and end'
complete -c oxrun -n '__oxrun_command events' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command events' -a '(__oxrun_ids)'
complete -c oxrun -n '__oxrun_command spec' -l bundle -s b -x -a '(__fish_complete_directories)' -d 'where to write it (default: the working directory)'
complete -c oxrun -n '__oxrun_command spec' -l rootless -d 'for a caller without root'
complete -c oxrun -n '__oxrun_command spec' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command features' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command explain' -l bundle -s b -x -a '(__fish_complete_directories)' -d 'the bundle (default: the working directory)'
complete -c oxrun -n '__oxrun_command explain' -l json -d 'print it as JSON'
complete -c oxrun -n '__oxrun_command explain' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command check' -l bundle -s b -x -a '(__fish_complete_directories)' -d 'the bundle (default: the working directory)'
complete -c oxrun -n '__oxrun_command check' -l format -s f -x -a 'text json' -d 'how it is printed (default: text)'
complete -c oxrun -n '__oxrun_command check' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command check' -a '(__fish_complete_directories)'
complete -c oxrun -n '__oxrun_command try' -l help -s h -d 'show this help'
complete -c oxrun -n '__oxrun_command kill' -a 'HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS RTMIN RTMAX'
complete -c oxrun -n '__oxrun_command help' -a 'create run start state kill delete exec list ps pause resume update events spec features explain check try'
