# What ordinary scripts of a plain shell do, one line of result each.
set -eu
echo "arithmetic: $((6 * 7))"
cat << END
here document: $(printf inside)
END
(exit 3) || echo "subshell: $?"
f() { local one=1; echo "function: $one $*"; }
f two
set -- -a value; getopts a: name; echo "getopts: $name $OPTARG"
trap 'echo "trap: seen"' USR1
kill -USR1 $$
printf '3\n1\n2\n' | while read -r n; do echo "$n"; done | { read -r first; echo "pipe: $first"; cat > /tmp/rest; }
(exit 5) & wait $! || echo "wait: $?"
exec 3> /tmp/three; echo "descriptor" >&3; exec 3>&-
read -r line < /tmp/three; echo "redirect: $line"
umask 027; echo "umask: $(umask)"
command -v cat > /dev/null && echo "command: found"
