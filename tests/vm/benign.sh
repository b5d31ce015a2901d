# A session that no rule forbids: tells the same under a policy as without.
cd /data || exit 1
exec 2>&1
mkdir -p work/deep/er
for n in 1 2 3; do echo "line $n" >work/f$n; done
cat work/f1 work/f2 work/f3 | sort -r | head -n 2
cp work/f1 work/deep/er/copy
mv work/f2 work/deep
ln work/f3 work/hard
ln -s ../f3 work/deep/soft
cat work/deep/soft
chmod 600 work/hard
stat -c '%a %s' work/f3
find work | sort
tar -cf work.tar work && tar -tf work.tar | sort
tar -xf work.tar -C /data/tree && cat /data/tree/work/deep/soft 2>/dev/null
sh -c 'echo from a child; exit 3'
echo "status $?"
(sleep 0.1; echo background) &
wait
mkfifo work/pipe
(echo through >work/pipe) &
cat work/pipe
echo cut >work/f3
: >work/f3
wc -c <work/f3
printf '#!/bin/sh\necho script\n' >work/script
chmod 755 work/script
work/script
sleep 10 &
kill $!
wait $! 2>/dev/null
echo "killed $?"
nc -l -p 7070 >received &
for n in $(seq 50); do sleep 0.2; echo sent | nc 127.0.0.1 7070 2>/dev/null && break; done
wait
cat received
find work tree -name 'f*' -exec rm {} +
rm -r work tree work.tar
ls
if command -v python3 >/dev/null; then python3 -c 'import json; print(json.dumps([1, 2]))'; fi
