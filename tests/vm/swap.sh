# Sourced by survive.sh: policies replaced under agents that run. A daemon, `fact`, `records` and `ready` are there.
mkdir -p /data/both /data/a /data/b
for file in both/f a/f b/f mixed after mark; do echo some >/data/$file; done
rm -f /tmp/w/swapped
printf 'hosts: files\n' >/etc/nsswitch.conf
echo '127.0.0.2 api.test' >/etc/hosts
mkdir -p /sys/fs/cgroup/configured
cp /t/swap-a.yaml /configured.yaml
printf 'agents = [{name = "configured", cgroup = "/configured", policy = "/configured.yaml"}]\n[ledger]\ndir = "/ledger/swap"\n[hosts]\nrefresh = "1s"\n' >/swap.toml
rgt run --config /swap.toml 2>/swap.log &
daemon=$!
ready

# Under load: an agent of two processes, and two policies in turn.
rgt exec --policy /t/swap-a.yaml --name swap -- sh -c '/full/swap & /full/swap; wait' >/swap.out 2>&1 &
agent=$!
sleep 1
swaps=0 done=0
# More labels than fit beside those of the policy in force.
{
    printf 'version: 1\nrules:\n  - id: MANY\n    watch: file.read\n    label: [l0'
    for n in $(seq 31); do printf ', l%d' "$n"; done
    printf ']\n'
} >/many.yaml
printf 'version: 1\nrules:\n  - { id: BAD, deny: file.nothing }\n' >/bad.yaml
while [ $swaps -lt "$1" ]; do
    swaps=$((swaps + 1))
    if [ $((swaps % 2)) = 1 ]; then next=b; else next=a; fi
    rgt policy apply /t/swap-$next.yaml --agent swap >/applied 2>>/swap.log && done=$((done + 1))
    if [ $swaps = 5 ]; then
        in_force() { rgt agents --json | grep '"agent_id":"swap"' | grep -o '"policy_hash":"[^"]*"'; }
        before=$(in_force)
        rgt policy apply /bad.yaml --agent swap >/dev/null 2>&1
        fact "bad applied" $?
        rgt policy apply /many.yaml --agent swap >/dev/null 2>/many.err
        fact "too many applied" $?
        fact "too many said" "$(grep -c 'more labels' /many.err)"
        rgt policy apply /t/swap-a.yaml --agent nobody >/dev/null 2>&1
        fact "nobody applied" $?
        su agent -s /bin/sh -c 'rgt policy apply /t/swap-a.yaml --agent swap' >/dev/null 2>&1
        fact "user applied" $?
        fact "bad changed" "$([ "$before" = "$(in_force)" ] && echo no)"
    fi
    # At times longer than the kernel keeps a policy that nobody is judged by.
    [ $((swaps % 10)) != 0 ] || sleep 2
done
: >/tmp/w/swapped
wait $agent
fact "swap exec" $?
fact "swaps" $done
fact "swap leaks" "$(awk '{ sum += $1 } END { print sum + 0 }' /swap.out)"
fact "swap rounds" "$(awk '{ sum += $2 } END { print sum + 0 }' /swap.out)"
fact "swap by a" "$(awk '{ sum += $3 } END { print sum + 0 }' /swap.out)"
fact "swap by b" "$(awk '{ sum += $4 } END { print sum + 0 }' /swap.out)"
cat /swap.out >&2
hash_a=$(sha256sum /t/swap-a.yaml | cut -d ' ' -f 1)
hash_b=$(sha256sum /t/swap-b.yaml | cut -d ' ' -f 1)
# Every verdict on what the policies speak of: which policy, which rule, what came of it.
records swap | awk -v a="$hash_a" -v b="$hash_b" '
    function after(key, rest) {
        rest = substr($0, index($0, "\"" key "\":\"") + length(key) + 4)
        return substr(rest, 1, index(rest, "\"") - 1)
    }
    index($0, "\"agent_id\":\"swap\"") && index($0, "\"argument\":\"/data/") {
        hash = after("policy_hash")
        if (hash == a) hash = "a"
        if (hash == b) hash = "b"
        seen[after("argument") " " after("enforcement") " " hash " " after("policy_rule_id")]++
    }
    END { for (verdict in seen) printf "#\tverdict %d\t%s\n", ++number, verdict }'
records swap | grep '"subject":"policy"' | grep '"agent_id":"swap"' | sed 's/^/%	swap	/' >/changes
fact "changes told" "$(wc -l </changes)"
head -n 2 /changes

# Configured agents: the file is read again when the daemon is told so.
sh -c 'echo $$ >/sys/fs/cgroup/configured/cgroup.procs; : >/tmp/w/configured; while [ ! -e /tmp/w/leave ]; do if read -r x </data/b/f; then echo free; else echo refused; fi >/tmp/w/met; sleep 0.1; done' 2>/dev/null &
agent=$!
until rgt agents --json | grep -q configured; do sleep 0.1; done
sleep 1
fact "before reload" "$(cat /tmp/w/met)"
cp /bad.yaml /configured.yaml
kill -HUP $daemon
sleep 1
fact "after bad reload" "$(cat /tmp/w/met)"
cp /t/swap-b.yaml /configured.yaml
kill -HUP $daemon
tries=0
until [ "$(cat /tmp/w/met)" = refused ] || [ $tries = 50 ]; do sleep 0.1; tries=$((tries + 1)); done
fact "after reload" "$(cat /tmp/w/met)"
: >/tmp/w/leave
wait $agent
rmdir /sys/fs/cgroup/configured
fact "reloads told" "$(records swap | grep '"subject":"policy"' | grep '"agent_id":"configured"' | grep -c '"by":"reload"')"

# Host names: what /etc/hosts says, and other addresses while the agent runs.
cat >/tmp/w/hosts.sh <<'END'
meet() {
    case $(nc -w 1 "$2" "$3" 2>&1 </dev/null) in
    *'Permission denied'*) came=refused ;;
    *'Connection refused'*) came=reached ;;
    *) came=odd ;;
    esac
    printf '#\thosts %s\t%s\n' "$1" $came
}
meet "old before" 127.0.0.2 7001
meet "new before" 127.0.0.3 7001
meet "other port" 127.0.0.2 7002
: >/tmp/w/met-old
while [ ! -e /tmp/w/moved ]; do sleep 0.1; done
meet "old after" 127.0.0.2 7001
meet "new after" 127.0.0.3 7001
while [ ! -e /tmp/w/lost ]; do sleep 0.1; done
meet "new at last" 127.0.0.3 7001
END
printf 'version: 1\nname: hosts\nrules:\n  - { id: ONLY_API, deny: net.connect, to: { not: ["api.test:7001", "nowhere.test:7001"] } }\n' >/hosts.yaml
rgt exec --policy /hosts.yaml --name hosts -- sh /tmp/w/hosts.sh &
agent=$!
until [ -e /tmp/w/met-old ]; do sleep 0.1; done
told() { records swap | grep '"subject":"policy"' | grep -c '"by":"hosts"'; }
echo '127.0.0.3 api.test' >/etc/hosts
tries=0
until [ "$(told)" = 1 ] || [ $tries = 100 ]; do sleep 0.1; tries=$((tries + 1)); done
: >/tmp/w/moved
# Nobody knows the name any more: its last addresses stand.
: >/etc/hosts
sleep 3
: >/tmp/w/lost
wait $agent
fact "hosts told" "$(told)"
records swap | grep '"subject":"policy"' | grep '"by":"hosts"' | sed 's/^/%	hosts	/'
records swap | grep '"agent_id":"hosts"' | grep '"argument":"127.0.0.' | sed 's/^/%	hosts	/'
kill $daemon
wait $daemon
rgt verify /ledger/swap >&2
fact "verify swap" $?
cat /swap.log >&2
