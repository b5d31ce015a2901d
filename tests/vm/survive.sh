# Runs as root in the VM: enforcement that outlives the daemon. Tells what happened as vm.sh does.
#   survive.sh KILLS SWAPS
policy=/policies/article.yaml
kills=${1:-10}
swaps_wanted=${2:-20}

fact() {
    printf '#\t%s\t%s\n' "$1" "$2"
    echo "$(cut -d ' ' -f 1 /proc/uptime) $1: $2" >&2
}
ready() {
    tries=0
    until rgt agents >/dev/null 2>&1; do
        sleep 0.2
        tries=$((tries + 1))
        [ $tries -lt 300 ] || return 1
    done
}
start() {
    rgt run --set ledger.dir=/ledger/survive 2>>/run.log &
    daemon=$!
    ready
}
pinned() { find /sys/fs/bpf/rgt -type f 2>/dev/null | wc -l; }
# Every record of a ledger: of many the older segments are compressed.
records() { rgt tail --json --ledger "/ledger/$1"; }
# Of the agents' ledger: how many records hold these words.
count() { records survive | grep -c "$1"; }
# What gap records declare lost, all together.
gaps() {
    records survive | grep '"kind":"gap"' |
        sed 's/.*"made":\([0-9]*\).*"received":\([0-9]*\).*/\1 \2/' |
        awk '{ sum += $1 - $2 } END { print sum + 0 }'
}

umount /tmp
chmod 1777 /tmp
mkdir -p /ledger /data /tmp/w
chmod 1777 /tmp/w
for n in 0 1 2 3; do echo x >/data/f$n; done
echo x >/data/last

start
fact "pinned" "$([ "$(pinned)" -gt 10 ] && echo yes)"
rgt exec --policy $policy --name survivor -- sh /t/survivor.sh >/dev/null 2>&1 &
agent=$!
until [ -e /tmp/w/begun ]; do sleep 0.1; done

# The daemon is killed and started again, at whatever it is: starting, taking over, at work.
killed=0
while [ $killed -lt "$kills" ]; do
    sleep "0.$((killed % 7))"
    kill -9 $daemon
    wait $daemon 2>/dev/null
    killed=$((killed + 1))
    if [ $((killed % 3)) = 0 ]; then
        # At work for a while, else only somewhere in its start.
        start || { fact "adopted" "no: $(tail -n 3 /run.log | tr '\n\t' '  ')"; break; }
        sleep 1
    else
        rgt run --set ledger.dir=/ledger/survive 2>>/run.log &
        daemon=$!
        # At another moment of its start each time.
        sleep $((killed * 3 % 11))
    fi
    echo "killed $killed times" >&2
done
fact "killed" $killed
kill -9 $daemon
wait $daemon 2>/dev/null

# Nobody watches: refused all the same, also what begins only now.
: >/tmp/w/alone
until [ -e /tmp/w/alone-done ]; do sleep 0.1; done
fact "alone" "$(cat /tmp/w/alone-done)"

start
fact "ready again" $?
fact "agents" "$(rgt agents --json | grep -o '"agent_id":"[^"]*"' | tr '\n' ' ')"
fact "generations" "$(ls /sys/fs/bpf/rgt/v*/links | wc -l)"

# Told to end while an agent lives: enforcement stays.
kill $daemon
wait $daemon
fact "after a clean end" "$([ "$(pinned)" -gt 10 ] && echo yes)"
: >/tmp/w/again
until [ -e /tmp/w/again-done ]; do sleep 0.1; done
fact "again" "$(cat /tmp/w/again-done)"
start

: >/tmp/w/stop
wait $agent
tries=0
while rgt agents --json | grep -q survivor && [ $tries -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
fact "agents afterwards" "$(rgt agents --json | grep -c survivor)"
fact "left" "$(ls /data | grep -c '^f')"
fact "gone" "$(cat /tmp/w/gone 2>/dev/null | wc -l)"
# With no agent left a clean end removes what was pinned.
kill $daemon
wait $daemon
fact "pinned at the end" "$(pinned)"
fact "state at the end" "$(ls /var/lib/rgt/state.json 2>/dev/null | wc -l)"
rgt verify /ledger/survive >&2
fact "verify survive" $?
fact "attempted" "$(cat /tmp/w/tried.* | awk '{ sum += $1 } END { print sum + 0 }')"
fact "recorded" "$(records survive | grep '"policy_verdict":"DENY"' | grep -c '"object":"/data/f')"
fact "missed" "$(gaps)"
fact "adoptions" "$([ "$(count '"kind":"adopt"')" -gt 2 ] && echo yes)"

# The off switch: a policy that denies everything, and no daemon.
start
rgt exec --policy /t/nothing.yaml --name denied -- sh /t/denied.sh >/dev/null 2>&1 &
agent=$!
until [ -e /tmp/w/denying ]; do sleep 0.1; done
kill -9 $daemon
wait $daemon 2>/dev/null
: >/tmp/w/try1
until [ -e /tmp/w/tried1 ]; do sleep 0.1; done
fact "refused before unload" "$(ls /data | grep -c last)"
fact "agent's own unload" "$(cat /tmp/w/unload)"
rgt unload >&2
fact "unload" $?
fact "pins after unload" "$(pinned)"
fact "directory after unload" "$(ls /sys/fs/bpf | grep -c rgt)"
: >/tmp/w/try2
until [ -e /tmp/w/tried2 ]; do sleep 0.1; done
fact "refused after unload" "$(ls /data | grep -c last)"
wait $agent
rgt unload >&2
fact "unload of nothing" $?

# A daemon that `exec` started leaves nothing behind.
rgt exec --policy $policy --ledger /ledger/own -- unlink /data/f0 2>/dev/null
fact "exec refused" "$(ls /data | grep -c '^f0')"
tries=0
while [ "$(pinned)" != 0 ] && [ $tries -lt 50 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
fact "pins after exec" "$(pinned)"
cat /run.log >&2

. /t/stood.sh
set -- "$swaps_wanted"
. /t/swap.sh
. /t/approve.sh
