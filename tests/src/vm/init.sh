#!/bin/busybox sh
# The first program of the virtual machine: makes the machine ready, runs each
# command of /machine/commands.sh, and tells of it on the second serial port.
# When this script ends, the kernel panics.

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
# As under an init that keeps its services apart: every controller is on below the
# root, and no process is in it.
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
done
mkdir /sys/fs/cgroup/commands
echo $$ > /sys/fs/cgroup/commands/cgroup.procs
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

# What a command wrote is kept here until it has ended; more does not fit.
mount -t tmpfs -o mode=700,size=1m tmpfs /machine/results
cd /machine/results || exit 1
stty -F /dev/ttyS1 raw -echo
exec 3> /dev/ttyS1
read -r nonce < /machine/nonce
rm /machine/nonce

# run UID HOME BOUND WORDS…: one command, and what became of it.
number=0
run() {
    uid=$1 home=$2 bound=$3
    shift 3
    printf '%s begin %s\n' "$nonce" "$number" >&3
    (
        cd /
        # A shell ignores SIGINT and SIGQUIT for what it starts beside itself; env(1)
        # of coreutils undoes it.
        exec setsid /machine/env --default-signal=INT,QUIT -i PATH=/usr/bin:/bin HOME="$home" \
            /usr/bin/setpriv --reuid "$uid" --regid "$uid" --clear-groups -- "$@"
    ) < /dev/null > out 2> err 3>&- &
    command=$!
    # All but this watchdog and the first process get the signal; kill(2).
    (
        sleep "$bound"
        : > late
        kill -9 -1
    ) < /dev/null > /dev/null 2>&1 3>&- &
    wait "$command"
    end=$?
    # The watchdog, and whatever the command left behind.
    kill -9 -1
    wait
    [ ! -e late ] || end=late
    printf '%s end %s %s %s %s\n' "$nonce" "$number" "$end" "$(stat -c %s out)" "$(stat -c %s err)" >&3
    cat out err >&3
    rm -rf ./*
    number=$((number + 1))
}

. /machine/commands.sh
# Told of all; whoever waits for that ends the machine.
sleep 1000
