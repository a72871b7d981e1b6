# Ordinary tools at work in the current directory, one line of result each.
set -eu
PATH=/usr/bin:/bin
seq 20000 > numbers
echo "sort: $(sort --parallel=2 -S 1M -rn numbers | head -n 1)"
cp --reflink=auto --preserve=mode,timestamps numbers copy
cmp numbers copy && echo "cp: same"
dd if=numbers of=block bs=4k count=8 conv=fsync status=none
echo "dd: $(stat -c %s block)"
mkdir -p deep/er/est && touch deep/a deep/er/b deep/er/est/c && ln -s ../a deep/er/link && ln deep/a deep/hard
echo "find: $(find deep -type f -newermt 2000-01-01 | wc -l)"
echo "xargs: $(find deep -type f -print0 | xargs -0 -n 1 -P 2 basename | sort | tr '\n' ' ')"
truncate -s 1M sparse && printf x | dd of=sparse bs=1 seek=500000 conv=notrunc status=none
chmod 640 deep/a
tar --create --xattrs --acls --sparse --file archive.tar deep sparse numbers
mkdir out && tar --extract --xattrs --acls --sparse --same-permissions --file archive.tar -C out
echo "tar: $(stat -c %a out/deep/a) $(stat -c %s out/sparse) $(readlink out/deep/er/link) $([ "$(stat -c %b out/sparse)" -lt 100 ] && echo sparse)"
tar -czf archive.tgz deep && echo "tar -z: $(tar -tzf archive.tgz | wc -l)"
xz -T 2 -k numbers && echo "xz: $(xz -dc numbers.xz | tail -n 1)"
gzip -k numbers && echo "gzip: $(gzip -dc numbers.gz | wc -l)"
echo "awk: $(awk '{ sum += $1 } END { print sum }' numbers)"
sed -i 's/^1$/one/' numbers && echo "sed -i: $(head -n 1 numbers)"
echo "openssl: $(printf belljar | openssl dgst -sha256 -r | cut -c 1-8)"
openssl genpkey -algorithm ed25519 -out key.pem && echo "openssl key: $(head -c 10 key.pem)"
ssh-keygen -q -t ed25519 -N '' -C belljar -f key && echo "ssh-keygen: $(cut -d ' ' -f 1,3 key.pub)"
echo "env: $(env -i A=b /usr/bin/env)"
echo "timeout: $(timeout 0.05 sleep 100 || echo $?)"
echo "nice: $(nice -n 5 nice)"
echo "nohup: $(nohup echo kept 2> err)"
echo "split: $(split -n 4 copy part- && cat part-* | cmp - copy && echo same)"
install -m 755 /bin/true true && ./true && echo "install: runs"
(exec 9> lock; flock 9; echo "flock: held")
mktemp -d made-XXXX > /dev/null && echo "mktemp: $(ls -d made-* | wc -l)"
tail -f copy > followed &
until [ -s followed ]; do sleep 0.01; done
kill $! && wait $! || true
echo "tail: $(tail -n 1 followed)"
echo "date: $(date -u -d @0 +%Y)"
echo "id: $(id -un)"
echo "df: $(df --output=target . | wc -l)"
[ "$(ps -o pid= -p $$ | tr -d ' ')" = $$ ] && echo "ps: itself"
echo "script: $(script -q -e -c 'tty; stty -echo; stty size' /dev/null < /dev/null | tr -d '\r' | tr '\n' ' ')"
