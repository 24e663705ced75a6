# Runs a command with its output on the machine's channels and reports its exit status.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run/tmp TERM=dumb

job() {
    # A channel can be opened once only, so the command writes into pipes.
    /run/oxrun-vm/busybox mkfifo -m 666 /run/oxrun-vm/out /run/oxrun-vm/err
    /run/oxrun-vm/busybox cat /run/oxrun-vm/out >/dev/oxrun-vm.out &
    out=$!
    /run/oxrun-vm/busybox cat /run/oxrun-vm/err >/dev/oxrun-vm.err &
    err=$!
    "$@" </dev/null >/run/oxrun-vm/out 2>/run/oxrun-vm/err &
    wait $!
    status=$?
    # What the command left running may still hold the pipes.
    (/run/oxrun-vm/busybox sleep 5; kill $out $err) >/dev/null 2>&1 &
    wait $out $err
    echo "$status" >/dev/oxrun-vm.status
}
