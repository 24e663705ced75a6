# Pid 1 of a machine without systemd: mounts, cgroups, the job, the end.
. /run/oxrun-vm/conf
. /run/oxrun-vm/job.sh
b=/run/oxrun-vm/busybox

$b mkdir -p /dev/pts /dev/shm /dev/mqueue
$b mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
$b mount -t tmpfs -o mode=1777 shm /dev/shm
$b mount -t mqueue mqueue /dev/mqueue
$b mount -t securityfs securityfs /sys/kernel/security
$b mount -t bpf bpf /sys/fs/bpf
$b ln -sf /proc/self/fd /dev/fd
for n in 0:stdin 1:stdout 2:stderr; do $b ln -sf "fd/${n%:*}" "/dev/${n#*:}"; done
# What nobody asks for by name: disks of files, and the scheduler that has weights.
/sbin/modprobe -q loop max_loop=4
/sbin/modprobe -q bfq
# As systemd does.
$b mount --make-rshared /
$b hostname oxrun-vm
$b ip link set lo up

top=/sys/fs/cgroup
v1() {
    $b mount -t tmpfs -o mode=755 cgroup $top
    for set in cpu,cpuacct cpuset memory devices freezer blkio pids net_cls,net_prio perf_event hugetlb rdma misc; do
        $b mkdir $top/$set
        if $b mount -t cgroup -o "$set" cgroup $top/$set 2>/dev/null; then
            case $set in *,*) for one in ${set%,*} ${set#*,}; do $b ln -s "$set" "$top/$one"; done ;; esac
        else
            $b rmdir $top/$set
        fi
    done
    $b mkdir $top/systemd
    $b mount -t cgroup -o none,name=systemd cgroup $top/systemd
}
case $CGROUP in
v2)
    $b mount -t cgroup2 -o nsdelegate cgroup2 $top
    for one in $($b cat $top/cgroup.controllers); do echo "+$one" >$top/cgroup.subtree_control; done ;;
hybrid)
    v1
    $b mkdir $top/unified
    $b mount -t cgroup2 cgroup2 $top/unified ;;
v1) v1 ;;
esac

if [ "$USER_SESSION" = yes ]; then
    $b mkdir -p /run/user/4242
    $b chmod 700 /run/user/4242
    $b chown 4242:4242 /run/user/4242
    export XDG_RUNTIME_DIR=/run/user/4242
    if [ "$CGROUP" = v2 ]; then
        # A delegated tree, with the job in a leaf of it.
        $b mkdir -p $top/vmuser/job
        for one in $($b cat $top/cgroup.controllers); do
            echo "+$one" >$top/vmuser/cgroup.subtree_control
        done
        $b chown 4242:4242 $top/vmuser $top/vmuser/job
        for one in cgroup.procs cgroup.subtree_control cgroup.threads; do
            $b chown 4242:4242 $top/vmuser/$one $top/vmuser/job/$one
        done
        enter="echo 0 >$top/vmuser/job/cgroup.procs; exec"
    else
        enter=exec
    fi
    job /bin/sh -c "$enter"' /usr/bin/setpriv --reuid=4242 --regid=4242 --clear-groups "$@"' sh \
        /run/oxrun-vm/busybox sh /run/oxrun-vm/command.sh
else
    job $b setsid $b sh /run/oxrun-vm/command.sh
fi
$b poweroff -f
