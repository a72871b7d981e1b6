#!/bin/busybox sh
# The first program of the virtual machine: makes the machine ready, and runs its
# commands by run.sh. When this script ends, the kernel panics.

if [ "$1" != moved ]; then
    # pivot_root(2) refuses the initial file system as the root that is left,
    # and jars leave theirs: so the same tree is mounted once more, over it.
    /bin/busybox mount -o bind / /mnt
    cd /mnt && /bin/busybox mount -o move . / && exec /bin/busybox chroot . /init moved
    exit 1
fi

export PATH=/usr/bin
/bin/busybox mount -t proc proc /proc
# All that it is, beside the programs that are there already.
/bin/busybox --install -s /usr/bin 2> /dev/null
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# With systemd, it does that.
if [ ! -e /machine/systemd ]; then
    # As under an init that keeps its services apart: every controller is on below the
    # root, and no process is in it.
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
    done
    mkdir /sys/fs/cgroup/commands
    echo $$ > /sys/fs/cgroup/commands/cgroup.procs
fi
mount -t devtmpfs devtmpfs /dev
mkdir /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mount -t tmpfs -o mode=755 tmpfs /run
chown 1000:1000 /home/user
hostname machine
# As login managers leave it: how many files a process may have open, and may ask for.
ulimit -Hn 524288
ulimit -Sn 1024
ip link set lo up
for module in $(cat /machine/modules); do
    insmod "/machine/$module" || exit 1
done
if [ -b /dev/vda ]; then
    mkdir /disk
    mount -t ext4 -o prjquota /dev/vda /disk || exit 1
    chmod 1777 /disk
fi
for place in /var/tmp /tmp; do
    if [ -d /disk ]; then
        mkdir -p -m 1777 "/disk$place"
        mount -o bind "/disk$place" "$place"
    else
        mount -t tmpfs tmpfs "$place"
    fi
done

# Its unit commands.service runs the same script.
[ ! -e /machine/systemd ] || exec /lib/systemd/systemd --system

. /machine/run.sh
