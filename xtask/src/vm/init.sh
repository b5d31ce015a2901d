#!/bin/busybox sh
# The VM's first process: makes the machine usable, runs the command, tells its status, powers off.
# ttyS0 kernel messages · ttyS1 the command's stdout · ttyS2 its stderr · ttyS3 our own words.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root TERM=dumb LANG=C.UTF-8
umask 022
mount -t devtmpfs -o mode=0755,nosuid dev /dev
# Another kernel's serial driver may have fewer ports: then nothing below can work, and the harness says so.
for port in 1 2 3; do
    stty -F /dev/ttyS$port raw -echo -echoe -echok -echoctl -hupcl clocal 115200
done
exec 9<>/dev/ttyS3
echo "RGT ready" >&9
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=0620,ptmxmode=0666,gid=5 devpts /dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev shm /dev/shm
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin
ln -sf fd/1 /dev/stdout
ln -sf fd/2 /dev/stderr
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
mount -t debugfs -o mode=0700 debugfs /sys/kernel/debug 2>/dev/null
mount -t tracefs -o mode=0700 tracefs /sys/kernel/tracing 2>/dev/null
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=0755 run /run
mkdir -p /var/lib /var/tmp /run/lock
chmod 1777 /var/tmp
ip link set lo up
# Their names begin with numbers: what others need comes first.
for module in /.vm/modules/*.ko; do
    insmod "$module"
done
hostname rgt-vm
cd /root
setsid sh /.vm/command </dev/null >/dev/ttyS1 2>/dev/ttyS2 9>&-
status=$?
# Setting a terminal waits until what was written has left.
stty -F /dev/ttyS1 raw -echo
stty -F /dev/ttyS2 raw -echo
echo "RGT status $status" >&9
stty -F /dev/ttyS3 raw -echo
poweroff -f
