# Runs in the VM: the same operations by nobody's process and by agents. Tells what it found one line each;
# `cargo xtask bench` reads them.
set -eu

# How long the daemon has been on the processor, all its threads, in nanoseconds.
daemon_time() {
    cat /proc/"$daemon"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'
}

# The daemon's own memory in KiB.
memory() {
    echo "memory $(awk '/^RssAnon:/ { print $2 }' /proc/"$daemon"/status)"
}

# agent SCENARIO OPTIONS…: the operations as an agent. What it recorded proves that it was one.
agent() {
    scenario=$1
    shift
    echo "scenario $scenario"
    before=$(daemon_time)
    rgt exec --name "$scenario" --ledger /tmp/ledger-"$scenario" "$@" -- /ops
    after=$(daemon_time)
    records=/tmp/ledger-$scenario
    # Records, gaps, bytes, mode. Segments that are full are compressed: `rgt tail` reads them all.
    set -- $(rgt tail --json --ledger "$records" | awk '
        { lines++; bytes += length($0) + 1 }
        /"kind":"gap"/ { gaps++ }
        /"kind":"start"/ && match($0, /"mode":"[a-z_]*"/) { mode = substr($0, RSTART + 8, RLENGTH - 9) }
        END { printf "%d %d %.0f %s", lines, gaps, bytes, mode }')
    echo "ledger $1 $2 $((after - before)) $3 $4"
    memory
    rm -r "$records"
}

echo "kernel $(uname -r)"
# Where a process lies in memory moves the cost of its forks by some 3,000 instructions.
echo 0 >/proc/sys/kernel/randomize_va_space
# The first pass after a boot is not like those that follow (a connection costs 300 more).
/ops >/tmp/first
echo "scenario nothing"
/ops
# Where rgt attaches its own hooks here; asked now, for it loads them all.
hooks=$(rgt doctor --json | tr '{' '\n' | sed -n 's/.*"kind":"lsm","name":"\([a-z_]*\)","ok":true.*/\1/p')

rgt exec --name idle --policy /policies/article.yaml --ledger /tmp/ledger-idle -- sleep 100000 &
exec=$!
until sleep=$(pidof sleep) && rgt agents | grep -q idle; do usleep 100000; done
daemon=$(ps -o pid,args | awk '/rgt run/ && !/awk/ { print $1; exit }')
[ -n "$daemon" ]
echo "scenario neighbour"
memory
/ops
# From `rgt exec` to the command's own first instructions, the daemon being up and the policy in force.
for n in 1 2 3 4 5; do
    from=$(/ops now)
    to=$(rgt exec --name started --policy /policies/article.yaml -- /ops now)
    echo "start $((to - from))"
done
agent observed
agent governed --policy /policies/article.yaml
# The corpus: what judging costs must not grow with its size.
for rules in 10 1000 10000; do
    agent rules_$rules --policy /corpus/$rules.yaml
done

kill "$sleep"
wait "$exec" || true
# The kernel side is there until the daemon has ended.
while [ -e /proc/"$daemon" ]; do usleep 100000; done
echo "scenario nothing_again"
/ops

# Programs that do nothing but look their cgroup up, in the same places.
mkfifo /hold
lookup_only /lookup.o $hooks </hold >/attached &
lookup=$!
exec 9>/hold
until grep -qs attached /attached || ! kill -0 $lookup; do usleep 100000; done
cat /attached
echo "scenario lookup"
/ops
exec 9>&-
wait $lookup
