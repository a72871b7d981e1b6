# The usual tools, all of them in one static file; a line of result each.
set -eu
busybox seq 100 | busybox awk '{ sum += $1 } END { print "awk: " sum }'
busybox mkdir -p folder/deep
busybox echo text > folder/deep/file
busybox tar -cf out.tar folder
busybox tar -tf out.tar | busybox grep -c file
busybox gzip -c out.tar | busybox gunzip -c | busybox cmp - out.tar
busybox find folder -type f -exec busybox sha256sum {} + | busybox cut -c 1-8
busybox sed -i s/text/changed/ folder/deep/file
busybox cat folder/deep/file
busybox wget -q -O - http://127.0.0.1:9/ 2> err || busybox echo "wget: $?"
busybox ps -o comm | busybox grep -c busybox > ps && busybox echo "ps: seen"
busybox timeout 0.2 busybox sleep 100 || busybox echo "timeout: $?"
