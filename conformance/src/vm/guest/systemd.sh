# The service of a machine with systemd: the job, as root or in the user's session, and the end.
. /run/oxrun-vm/conf
. /run/oxrun-vm/job.sh
b=/run/oxrun-vm/busybox

if [ "$USER_SESSION" = yes ]; then
    $b mkdir -p /var/lib/systemd/linger
    : >/var/lib/systemd/linger/vmuser
    systemctl start user@4242.service || echo "oxrun-vm: no user session" >/dev/console
    export XDG_RUNTIME_DIR=/run/user/4242 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/4242/bus
    job /usr/bin/setpriv --reuid=4242 --regid=4242 --init-groups \
        systemd-run --user --wait --collect --quiet --pipe -p Delegate=yes \
        -E "DBUS_SESSION_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS" \
        $b sh /run/oxrun-vm/command.sh
else
    job $b setsid $b sh /run/oxrun-vm/command.sh
fi
$b poweroff -f
