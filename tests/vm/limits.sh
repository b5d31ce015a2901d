# Sourced by families.sh: rules that hold within a limit, or beyond one. `fact` and a daemon are there.
mkdir -p /data/limits/many /data/limits/window /data/limits/made
for file in counted raced secret many/1 many/2 many/3 many/4 many/5 window/1 window/2 window/3 window/4; do
    echo some >/data/limits/$file
done

cat >/limited.sh <<'END'
cd /data/limits
# reads FILE…: how many of them were.
reads() { n=0; for file; do read -r x <"$file" && n=$((n + 1)); done 2>/dev/null; echo $n; }
# The windows of five seconds since the boot: waits until one begins.
until_a_window_begins() { w=$(($(cut -d . -f 1 /proc/uptime) / 5)); while [ $(($(cut -d . -f 1 /proc/uptime) / 5)) = $w ]; do sleep 0.1; done; }

echo "counted $(reads counted counted counted) $(reads counted counted counted) $(reads counted counted)"
for process in 1 2 3 4; do
    reads raced raced raced raced raced raced raced raced raced raced raced raced raced raced raced >/raced.$process &
done
wait
echo "raced $(cat /raced.* | awk '{ sum += $1 } END { print sum }')"
echo "places $(reads many/1 many/2 many/3 many/4 many/5) $(reads many/5 many/4 many/3 many/2 many/1 many/../many/2)"
echo "bytes $(/full/limits)"
until_a_window_begins
n=0
for file in 1 2 3 4; do unlink window/$file 2>/dev/null && n=$((n + 1)); done
until_a_window_begins
unlink window/4 && n=$((n + 10))
echo "window $n"
: >made/1; : >made/2; : >made/3
echo "before $(reads secret)"
: >made/4
echo "after $(reads secret)"
END
for run in limited again; do
    rgt exec --policy /t/limits.yaml --name "$run" --ledger "/ledger/$run" -- sh /limited.sh >/told 2>/said
    fact "exec $run" $?
    while read -r what came; do fact "$run $what" "$came"; done </told
    fact "$run denials" "$(grep -h '"policy_verdict":"DENY"' "/ledger/$run"/*.jsonl | grep -o '"policy_rule_id":"[A-Z_]*"' | sort | uniq -c | awk '{ print $2, $1 }' | tr -d '"' | sed 's/policy_rule_id://' | tr '\n' ' ')"
    rgt verify "/ledger/$run" >&2
    fact "verify $run" $?
    rm -f /data/limits/made/*
    for file in 1 2 3 4; do echo some >/data/limits/window/$file; done
done
