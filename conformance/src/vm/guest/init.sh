#!/bin/busybox sh
# The machine's first program, in the initial memory filesystem: loads modules, lays a writable
# layer over the host's root, and hands over to plain.sh or systemd.
/bin/busybox mkdir -p /proc /sys /dev /host /layer /root
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module"; done
. /job/conf

stop() { echo "oxrun-vm: $*"; poweroff -f; }
share="trans=virtio,version=9p2000.L,msize=512000,cache=loose"

mount -t 9p -o "$share,ro" root /host || stop "the host's root cannot be mounted"
mount -t tmpfs -o mode=755,size=75% layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /root ||
    stop "no writable layer"
mkdir -p /root/proc /root/sys /root/dev /root/run /root/out /root/lib/modules
mount -t tmpfs -o mode=755 run /root/run
mkdir -p /root/run/oxrun-vm /root/run/lock /root/run/tmp
# Bundles lie here: devices and set-user-ID programs work, and ids can be mapped on every kernel.
mke2fs -F -m 0 /dev/vdb >/dev/null && mount -t ext4 -o noatime /dev/vdb /root/run/tmp ||
    stop "no filesystem for temporary files"
chmod 1777 /root/run/tmp
cp /bin/busybox /job/* /root/run/oxrun-vm/
if [ "$MODULES" = yes ]; then
    mount -t 9p -o "$share,ro" modules /root/lib/modules || stop "the modules cannot be mounted"
fi
if [ "$OUT" = yes ]; then
    mount -t 9p -o "$share,rw" out /root/out || stop "the output directory cannot be mounted"
fi

# A user with subordinate ids.
echo 'vmuser:x:4242:4242::/home/vmuser:/bin/sh' >>/root/etc/passwd
echo 'vmuser:*:19000::::::' >>/root/etc/shadow
echo 'vmuser:x:4242:' >>/root/etc/group
echo 'vmuser:300000:65536' >>/root/etc/subuid
echo 'vmuser:300000:65536' >>/root/etc/subgid
mkdir -p /root/home/vmuser
chown 4242:4242 /root/home/vmuser

for port in /sys/class/virtio-ports/*; do
    ln -s "${port##*/}" "/dev/$(cat "$port/name")"
done
mount -o move /proc /root/proc
mount -o move /sys /root/sys
mount -o move /dev /root/dev
if [ "$SYSTEMD" = yes ]; then
    rm -f /root/.dockerenv
    . /job/units.sh
    exec switch_root /root /lib/systemd/systemd --unit=oxrun-vm.target --show-status=no
fi
exec switch_root /root /run/oxrun-vm/busybox sh /run/oxrun-vm/plain.sh
