# Sourced by families.sh: host names by what an agent's own resolver is answered. A daemon and `fact` are there, and the
# daemon's resolver knows none of these names.
printf 'nameserver 127.0.0.1\nnameserver 127.0.0.3\n' >/etc/resolv.conf
printf 'hosts: files\n' >/etc/nsswitch.conf
/full/answers serve 127.0.0.1 api.test=127.0.0.70 late.test=127.0.0.71 other.test=127.0.0.80 &
server=$!
cat >/answering.sh <<'END'
met() { printf '#\tanswers %s\t%s\n' "$1" "$2"; }
reach() { /full/answers connect "$1" 7001; }
met before "$(reach 127.0.0.70)"
met "other told" "$(/full/answers ask 127.0.0.1 other.test)"
met other "$(reach 127.0.0.80)"
met told "$(/full/answers ask 127.0.0.1 API.Test)"
met after "$(reach 127.0.0.70)"
met "other port" "$(/full/answers connect 127.0.0.70 7002)"
# The right address, in another place.
met "apart told" "$(/full/answers apart 127.0.0.1 api.test 127.0.0.90)"
met "forged" "$(/full/answers forge 127.0.0.1 api.test 127.0.0.90)"
# A server that was named, and that nobody is: the agent itself. From then on nobody is believed.
/full/answers serve 127.0.0.3 api.test=127.0.0.90 &
own=$!
sleep 0.5
met "own told" "$(/full/answers ask 127.0.0.3 api.test)"
kill $own
met "late told" "$(/full/answers ask 127.0.0.1 late.test)"
met late "$(reach 127.0.0.71)"
met "not told" "$(reach 127.0.0.90)"
END
rgt exec --policy /t/answers.yaml --name answers --ledger /ledger/answers -- sh /answering.sh
fact "exec answers" $?
# What one agent was answered is another's not. With no agent left to answer, servers are believed again.
rgt exec --policy /t/answers.yaml --name stranger --ledger /ledger/stranger -- /full/answers connect 127.0.0.70 7001 >/stranger
fact "answers stranger" "$(cat /stranger)"
tries=0
while rgt agents --json | grep -q agent_id && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
rgt exec --policy /t/answers.yaml --name believer --ledger /ledger/believer -- sh -c '/full/answers ask 127.0.0.1 late.test && /full/answers connect 127.0.0.71 7001' >/believer
fact "answers believer" "$(tail -n 1 /believer)"
kill $server
grep -h '"argument":"127.0.0.' /ledger/answers/*.jsonl | sed 's/^/%	answers	/'
rgt verify /ledger/answers >&2
fact "verify answers" $?
