# What ordinary bash programs do. Each part prints one line that a test reads.
set -eu
diff <(printf 'a\nb\n') <(printf 'a\nc\n') > /tmp/diff || true
echo "process substitution: $(grep -c '^[<>]' /tmp/diff)"
printf 'x\ny\n' > >(sort -r > /tmp/sorted; echo done > /tmp/sorted-ready)
until [ -e /tmp/sorted-ready ]; do sleep 0.01; done
echo "output substitution: $(head -n 1 /tmp/sorted)"
coproc UPPER { sed -u 's/.*/\U&/'; }
upper=$UPPER_PID
echo 'through a coprocess' >&"${UPPER[1]}"
read -r line <&"${UPPER[0]}"
echo "coproc: $line"
kill "$upper"
wait "$upper" || true
set -m
sleep 100 &
job=$!
kill -STOP %1
while [ "$(jobs -s | wc -l)" != 1 ]; do sleep 0.01; done
echo "job control: stopped"
bg %1 > /dev/null
kill %1
wait "$job" && true
echo "job: $?"
set +m
trap 'echo "trap: seen"' USR1
kill -USR1 $$
{ sleep 0.01; exit 3; } & wait $! && true
echo "wait: $?"
cat <<< "here string"
ulimit -n 100
echo "ulimit: $(ulimit -n)"
mkfifo /tmp/fifo
echo "fifo" > /tmp/fifo & cat /tmp/fifo
wait
umask 077
echo "umask: $(umask)"
