# Runs as root in the VM. Tells what happened as tab-separated lines: `#` a fact and its value,
# `%` a ledger and a record of it, `?` the doctor's words, `@` a check of agent.sh.
policy=/policies/article.yaml

fact() {
    printf '#\t%s\t%s\n' "$1" "$2"
    echo "$(cut -d ' ' -f 1 /proc/uptime) $1: $2" >&2
}

# The records that the assertions speak of; the serial line is slow.
records() {
    grep -h -e '"policy_verdict":"DENY"' -e '"subject":"file.delete"' -e '"subject":"file.rename"' \
        -e '"type":"rgt.sandbox.event"' -e '"kind":"gap"' "/ledger/$1"/*.jsonl |
        sed "s/^/%	$1	/"
}

verify() {
    rgt verify "/ledger/$1" >&2
    fact "verify $1" $?
}

# /tmp on the filesystem of everything else, so that names can be moved in and out of it.
umount /tmp
chmod 1777 /tmp
mkdir -p /ledger /data/dir /data/own /tmp/w /tmp/own /tmp/m /tmp/ns /tmp/overlay
chmod 1777 /tmp/w
for name in unlink away over truncate cut append bind ns symlink dots hard from neighbour early observed nothing; do
    echo "$name" >/data/$name
done
mkdir -p /data/bound /data/jail/bin /data/jail/tmp /tmp/jail/bin /tmp/jail/data
cp /bin/busybox /data/jail/bin/busybox
cp /bin/busybox /tmp/jail/bin/busybox
echo x >/data/jail/tmp/x
echo x >/tmp/jail/data/x
mount -t tmpfs own /tmp/own
mount -t tmpfs own /data/own
echo x >/data/own/x
# Two overlays over one lower directory, one where deletion is allowed and one where it is not.
mkdir /data/lower /data/upper /data/work /data/upper2 /data/work2 /data/merged
echo x >/data/lower/x
echo y >/data/lower/y
if mount -t overlay -o lowerdir=/data/lower,upperdir=/data/upper,workdir=/data/work overlay /tmp/overlay &&
    mount -t overlay -o lowerdir=/data/lower,upperdir=/data/upper2,workdir=/data/work2 overlay /data/merged; then
    mkdir /data/overlay
    mount --bind /tmp/overlay /data/overlay
    fact overlay mounted
else
    fact overlay "$(grep -q overlay /proc/filesystems && echo refused || echo absent)"
fi
fact lsm "$(cat /sys/kernel/security/lsm)"

# A process that is no agent does the same, before and while there is one.
unlink /data/early
fact "early neighbour" $?
# One daemon for what does not need one of its own: loading its programs is what takes long here.
rgt run --set ledger.dir=/ledger/daemon >&2 &
daemon=$!
until rgt agents >/dev/null 2>&1 || ! kill -0 $daemon; do sleep 0.2; done
(
    while [ ! -e /tmp/w/go ]; do sleep 0.1; done
    unlink /data/neighbour
    fact neighbour $?
    : >/tmp/w/gone
) &
neighbour=$!

rgt exec --policy $policy --name vm --ledger /ledger/main -- sh /t/agent.sh
fact exec $?
wait $neighbour
verify main
records main
fact "neighbour's records" "$(grep -c -e /data/neighbour -e /data/early /ledger/main/*.jsonl)"

# Absent names, and present ones, half of them where the agent may not even look.
mkdir -m 755 /data/probed
mkdir -m 700 /data/secret
for n in 0 1 2 3 4; do
    echo x >/data/probed/present$n
    echo x >/data/secret/present$n
done
rgt exec --policy $policy --name probe --ledger /ledger/probe -- su agent -s /bin/sh -c 'sh /t/probe.sh'
fact "exec probe" $?
verify probe
records probe
fact "probed left" "$(ls /data/probed /data/secret | grep -c present)"

rgt exec --observe --policy $policy --name observe --ledger /ledger/observe -- unlink /data/observed
fact "exec observe" $?
verify observe
records observe
fact "observed left" "$(ls /data | grep -c observed)"

# Forks and deletions of an agent, with others that preempt it.
mkdir /data/load
for n in $(seq 240); do : >/data/load/f$n; done
while :; do busybox true; done &
first=$!
while :; do busybox true; done &
second=$!
rgt exec --policy $policy --name load --ledger /ledger/load -- sh /t/load.sh 2>/dev/null
fact "exec load" $?
kill $first $second
verify load
fact "load left" "$(ls /data/load | wc -l)"
grep -h '"policy_verdict":"DENY"' /ledger/load/*.jsonl >/denials
fact "load recorded" "$(grep -o '"object":"/data/load/f[0-9]*","pid"' /denials | sort -u | wc -l)"
fact "load of others" "$(grep -v '"object":"/data/load/f[0-9]*","pid"' /denials | grep -o '"argument":"[^"]*"' | head -n 3 | tr '\n' ' ')"

# The daemon lets go of the tracepoints while nobody is governed, and takes them up again.
echo idle >/data/idle
let_go() { n=0; until [ "$(links)" = 0 ] || [ $n = 150 ]; do sleep 0.2; n=$((n + 1)); done; }
links() { grep -l raw_tracepoint /proc/$daemon/fdinfo/* 2>/dev/null | wc -l; }
let_go
fact "idle links" "$(links)"
rgt exec --policy $policy --name idle --ledger /ledger/idle -- sh -c 'unlink /data/idle; : >/tmp/w/busy; until [ -e /tmp/w/seen ]; do sleep 0.1; done' &
until [ -e /tmp/w/busy ] || ! kill -0 $!; do sleep 0.1; done
fact "busy links" "$(links)"
: >/tmp/w/seen
wait $!
let_go
fact "links afterwards" "$(links)"
verify idle
records idle

# A full table of tasks: the agent cannot fork any more, others can. `full` is compiled by the test.
echo full >/data/full
mkfifo /filling
cat >/data/fork.sh <<'END'
: >/ready
read -r failed </filling
echo "$failed" >/filled
(unlink /data/full)
echo went on
END
rgt exec --policy $policy --name full --ledger /ledger/full -- sh /data/fork.sh >/full.out 2>/full.err &
full=$!
until [ -e /ready ]; do sleep 0.2; done
# No agent's: what fills the table is not recorded.
/full/full /filling
until [ -s /filled ]; do sleep 0.2; done
fact filled "$(cat /filled)"
fact "neighbour forks" "$(busybox echo yes)"
wait $full
fact "full exec" $?
fact "full went on" "$(grep -c 'went on' /full.out)"
fact "full said" "$(grep -c 'Resource temporarily unavailable' /full.err)"
fact "full left" "$(ls /data | grep -c '^full$')"
fact "full told" "$(cat /ledger/full/*.jsonl /ledger/daemon/*.jsonl | grep '"kind":"faults"' | grep -c '"no_mark":[1-9]')"

kill $daemon
wait $daemon
fact "daemon" $?

# Hooks that fall silent while an agent runs, and speak again.
echo late >/data/late
rgt run --set ledger.dir=/ledger/silent --set enforce.canary=1s 2>/run.err &
daemon=$!
until rgt agents >/dev/null 2>&1; do sleep 0.2; done
told() { grep -h '"kind":"enforcement"' /ledger/silent/*.jsonl | grep -c "\"denies\":$1"; }
waits() { n=0; until [ "$(told $1)" = 1 ] || [ $n = 100 ]; do sleep 0.2; n=$((n + 1)); done; }
rgt exec --policy $policy --name silent -- sh -c 'while [ ! -e /tmp/w/off ]; do sleep 0.1; done; cat /data/none; while [ ! -e /tmp/w/on ]; do sleep 0.1; done; unlink /data/late' &
agent=$!
sleep 3
fact "told too early" "$(told false)"
echo 0 >/proc/sys/kernel/ftrace_enabled
# 5.10 does not let go of it while something is attached.
fact "ftrace in silence" "$(cat /proc/sys/kernel/ftrace_enabled)"
[ "$(cat /proc/sys/kernel/ftrace_enabled)" = 1 ] || waits false
fact "silence told" "$(told false)"
fact "silence shouted" "$(grep -c 'NOTHING IS DENIED ANY MORE' /run.err)"
rgt exec --enforce --policy $policy -- touch /tmp/w/ran
fact "exec --enforce in silence" $?
: >/tmp/w/off
sleep 1
echo 1 >/proc/sys/kernel/ftrace_enabled
waits true
fact "speech told" "$(told true)"
: >/tmp/w/on
wait $agent
fact "late left" "$(ls /data | grep -c late)"
kill $daemon
wait $daemon
fact "degraded in silence" "$(grep -h '"argument":"/data/none"' /ledger/silent/*.jsonl | grep -c '"degraded":true')"
verify silent

rgt doctor >/doctor 2>&1
fact doctor $?
sed 's/^/?	/' /doctor

# Without ftrace no hook of any kind runs, and nothing but a proof shows it.
echo 0 >/proc/sys/kernel/ftrace_enabled
fact ftrace "$(cat /proc/sys/kernel/ftrace_enabled)"
rgt run --set ledger.dir=/ledger/unheard 2>/run.err &
daemon=$!
until rgt agents >/dev/null 2>&1 || ! kill -0 $daemon; do sleep 0.2; done
rm -f /tmp/w/ran
rgt exec --enforce --policy $policy --ledger /ledger/enforce -- touch /tmp/w/ran
fact "exec --enforce" $?
fact "ran unenforced" "$(ls /tmp/w | grep -c ran)"
rgt exec --policy $policy --name nothing --ledger /ledger/nothing -- unlink /data/nothing 2>/said
fact "exec without hooks" $?
fact "said without hooks" "$(grep -c 'OBSERVING ONLY' /said)"
kill $daemon
wait $daemon
verify nothing
records nothing
