# Sourced by survive.sh: what stands of an agent when its daemon dies holds under the next one. `records` is there.
mkdir -p /data/stood
mkfifo /data/stood/next
for file in cool labelled counted; do echo some >/data/stood/$file; done
printf 'nameserver 127.0.0.1\n' >/etc/resolv.conf
printf 'hosts: files\n' >/etc/nsswitch.conf
/full/answers serve 127.0.0.1 api.test=127.0.0.70 late.test=127.0.0.71 &
server=$!

# The agent's shell is known by what it holds, which needs a filesystem that keeps times.
mkdir -p /pinned
dd if=/dev/zero of=/pinned.img bs=1M count=8 2>/dev/null
mke2fs -F /pinned.img >/dev/null 2>&1
mount -o loop /pinned.img /pinned
cp /bin/busybox /pinned/busybox
sed "s/DIGEST/$(sha256sum /pinned/busybox | cut -d ' ' -f 1)/" /t/stood.yaml >/stood.yaml

cat >/stood-agent.sh <<'END'
cd /data/stood
reads() { n=0; for file; do read -r x <"$file" && n=$((n + 1)); done 2>/dev/null; echo $n; }
made() { (: >"$1") 2>/dev/null && echo made || echo refused; }
runs() { ("$@") 2>/dev/null && echo runs || echo refused; }
: >heat
echo "made before $(made pinned1)"
echo "other made $(runs /bin/busybox touch pinned2)"
echo "counted before $(reads counted counted)"
busybox cp /bin/busybox own
echo "own before $(runs ./own true)"
/full/answers ask 127.0.0.1 api.test >/dev/null
echo "host before $(/full/answers connect 127.0.0.70 7001)"
: >begun
read -r x <next
echo "made after $(made pinned3)"
echo "cool $(reads cool)"
echo "labelled $(reads labelled)"
echo "counted after $(reads counted counted counted)"
echo "own after $(runs ./own true)"
echo "host after $(/full/answers connect 127.0.0.70 7001)"
echo "unasked after $(/full/answers connect 127.0.0.71 7001)"
/full/answers ask 127.0.0.1 late.test >/dev/null
echo "asked after $(/full/answers connect 127.0.0.71 7001)"
echo "other $(runs busybox true)"
END
start
rgt exec --policy /stood.yaml --name stood -- /pinned/busybox sh /stood-agent.sh >/told 2>/said &
agent=$!
# What the daemon has not come to when it dies, nobody goes on from.
tries=0
until [ -e /data/stood/begun ] && rgt agents --json | grep '"agent_id":"stood"' | grep -q '"risk":\(100\|[6-9][0-9]\)' || [ $tries -ge 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -9 $daemon
wait $daemon 2>/dev/null
# The next one cannot read the shell again: it goes by what the one before has read.
mount --bind /stood.yaml /pinned/busybox
start
echo go >/data/stood/next
tries=0
until grep -q other /told || [ $tries -ge 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
wait $agent
kill $server
umount /pinned/busybox /pinned
while read -r what; do fact "stood ${what% *}" "${what##* }"; done </told
fact "stood score" "$(records survive | grep '"kind":"adopt"' | grep '"agent_id":"stood"' | sed 's/.*"live_risk_score":\([0-9]*\).*/\1/')"
kill $daemon
wait $daemon
