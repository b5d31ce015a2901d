# Sourced by survive.sh: what an operator approves for an agent that runs. `fact` and `ready` are there, and no daemon.
echo some >/data/deploy
rm -f /tmp/w/ask /tmp/w/answer /tmp/w/enough
watch() {
    rgt run --set ledger.dir=/ledger/approve 2>>/approve.log &
    daemon=$!
    ready
}
# What the agent meets that tries it now.
meet() {
    rm -f /tmp/w/answer
    : >/tmp/w/ask
    until [ -e /tmp/w/answer ]; do sleep 0.05; done
    fact "approve $1" "$(cat /tmp/w/answer)"
}
asking() {
    printf 'version: 1\nname: %s\nrules:\n' $1
    printf '  - { id: LEAVE, allow: file.read, path: /data/deploy, when: { approval: deploy } }\n'
    printf '  - { id: %s, deny: file.read, path: /data/deploy, when: { approval: { not: [deploy, other] } } }\n' $2
}
asking first WAITS >/first.yaml
asking second STILL_WAITS >/second.yaml

watch
rgt exec --policy /first.yaml --name approver -- sh /t/approver.sh &
agent=$!
until [ -s /tmp/w/own ]; do sleep 0.1; done
fact "approve own" "$(cat /tmp/w/own) $(grep -c 'governed process' /tmp/w/own.err)"
su agent -s /bin/sh -c 'rgt approve approver deploy' >/dev/null 2>&1
fact "approve user" $?
rgt approve approver depoly 2>&1 >/dev/null | tee -a /approve.log | grep -c 'asked for: deploy, other' >/tmp/w/misspelt
fact "approve misspelt" "$(cat /tmp/w/misspelt)"
meet before

rgt approve approver deploy --for 10s --reason 'release 12' >&2
fact "approve timed" $?
meet "for a time"
tries=0
while rgt agents --json | grep -q '"name":"deploy"' && [ $tries -lt 200 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
meet "after its time"

rgt approve approver deploy >&2
meet "for the run"
rgt policy apply /second.yaml --agent approver >&2
meet "under the next policy"
kill -9 $daemon
wait $daemon 2>/dev/null
meet "without a daemon"
watch
meet "under the next daemon"
rgt approve approver deploy --revoke >&2
fact "approve revoke" $?
meet "after the revocation"
: >/tmp/w/enough
wait $agent
kill $daemon
wait $daemon
cat /approve.log >&2
rgt verify /ledger/approve >&2
fact "verify approve" $?
grep -h -e '"subject":"approval"' -e '"action_attempted":{"argument":"/data/deploy"' /ledger/approve/*.jsonl | sed 's/^/%	approve	/'
