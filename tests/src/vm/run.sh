# Runs each command of /machine/commands.sh, and tells of it on the second serial port.

# What a command wrote is kept here until it has ended; more does not fit.
mount -t tmpfs -o mode=700,size=1m tmpfs /machine/results
cd /machine/results || exit 1
stty -F /dev/ttyS1 raw -echo
exec 3> /dev/ttyS1
read -r nonce < /machine/nonce
rm /machine/nonce

# start UID HOME WORDS…: becomes one command.
start() {
    uid=$1 home=$2
    shift 2
    cd /
    # A shell ignores SIGINT and SIGQUIT for what it starts beside itself; env(1)
    # of coreutils undoes it.
    exec setsid /machine/env --default-signal=INT,QUIT -i PATH=/usr/bin:/bin HOME="$home" \
        /usr/bin/setpriv --reuid "$uid" --regid "$uid" --clear-groups -- "$@"
}

# Kills the watchdog, and the command with whatever it left behind: all but the caller
# and the first process get the signal; kill(2).
end() {
    kill -9 -1
}

if [ -e /machine/systemd ]; then
    # The same in a service of the machine's systemd, or of the user's own.
    start() {
        uid=$1 home=$2
        shift 2
        cd /
        if [ "$uid" = 0 ]; then
            exec systemd-run --quiet --wait --pipe --collect --unit "command-$number" \
                -E PATH=/usr/bin:/bin -E HOME="$home" -- "$@"
        fi
        exec /usr/bin/setpriv --reuid "$uid" --regid "$uid" --clear-groups -- \
            /machine/env -i PATH=/usr/bin:/bin HOME="$home" XDG_RUNTIME_DIR="/run/user/$uid" \
            systemd-run --user --quiet --wait --pipe --collect --unit "command-$number" \
            -E PATH=/usr/bin:/bin -E HOME="$home" -- "$@"
    }

    # systemd itself and the user's stay.
    end() {
        kill -9 "$watchdog" 2> /dev/null
        systemctl kill --signal=KILL "command-$number.service" 2> /dev/null
        for procs in /sys/fs/cgroup/user.slice/*/*/app.slice/command-*/cgroup.kill; do
            [ ! -e "$procs" ] || echo 1 > "$procs"
        done
    }
fi

# What each task is at whose command has no time left: where it waits, and in which call.
tasks() {
    for task in /proc/[0-9]*/task/*; do
        [ -e "$task/exe" ] || continue
        echo "$task $(cat "$task/comm") $(grep '^State' "$task/status") $(cat "$task/wchan" "$task/syscall" | tr '\n' ' ')"
    done
}

# run UID HOME BOUND WORDS…: one command, and what became of it.
number=0
run() {
    uid=$1 home=$2 bound=$3
    shift 3
    printf '%s begin %s\n' "$nonce" "$number" >&3
    (
        start "$uid" "$home" "$@"
    ) < /dev/null > out 2> err 3>&- &
    command=$!
    (
        sleep "$bound"
        : > late
        tasks >> err
        end
    ) < /dev/null > /dev/null 2>&1 3>&- &
    watchdog=$!
    wait "$command"
    end=$?
    end
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
