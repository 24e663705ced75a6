# Run by init.sh: systemd of the host's root, with nothing to start but what the job needs.
etc=/root/etc/systemd
lib=/root/lib/systemd
rm -rf $etc/system $etc/user
mkdir -p $etc/system $etc/user $etc/journald.conf.d
echo oxrun-vm >/root/etc/hostname
: >/root/etc/fstab
echo 0123456789abcdef0123456789abcdef >/root/etc/machine-id
printf '[Journal]\nStorage=volatile\n' >$etc/journald.conf.d/volatile.conf
for unit in $lib/system/sysinit.target.wants/* $lib/system/timers.target.wants/* \
    $lib/system/local-fs.target.wants/* \
    systemd-remount-fs.service systemd-udevd.service systemd-udevd-control.socket \
    systemd-udevd-kernel.socket systemd-udev-trigger.service systemd-initctl.socket \
    getty@tty1.service modprobe@.service systemd-resolved.service systemd-networkd.service \
    systemd-timesyncd.service apparmor.service tmp.mount; do
    case ${unit##*/} in systemd-journald*) continue ;; esac
    ln -s /dev/null "$etc/system/${unit##*/}" 2>/dev/null
done
mkdir "$etc/system/user@.service.d"
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$etc/system/user@.service.d/delegate.conf"

cat >$etc/system/oxrun-vm.target <<'END'
[Unit]
Requires=basic.target oxrun-vm.service
After=basic.target
AllowIsolate=yes
END
cat >$etc/system/oxrun-vm.service <<'END'
[Unit]
Requires=basic.target dbus.socket
After=basic.target dbus.socket
[Service]
Type=oneshot
TimeoutStartSec=infinity
Delegate=yes
ExecStart=/run/oxrun-vm/busybox sh /run/oxrun-vm/systemd.sh
END
