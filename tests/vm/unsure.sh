# Sourced by families.sh: ways to be unsure, each provoked. `fact` and a daemon are there.
mkdir -p /data/unsure/crowd/abcdefghijk /data/unsure/crowd/abc /data/unsure/deep /data/unsure/long /data/unsure/after
for file in crowd/abcdefghijk/f crowd/abc/f; do echo some >/data/unsure/$file; done

faults() { cat /ledger/daemon/*.jsonl | grep '"kind":"faults"' | grep -c "\"$1\":[1-9]"; }

# unsure NAME FAULT COMMAND…: what the command says, and whether the fault is told once more.
unsure() {
    name=$1 fault=$2
    shift 2
    before=$(faults "$fault")
    rgt exec --policy /t/unsure.yaml --name "$name" --ledger "/ledger/$name" -- "$@" >/told 2>/said
    fact "exec $name" $?
    fact "unsure $name" "$(tr '\n' ' ' </told | sed 's/ $//')"
    tries=0
    until [ "$(faults "$fault")" -gt "$before" ] || [ $tries = 30 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    fact "unsure $name told" "$([ "$(faults "$fault")" -gt "$before" ] && echo "$fault")"
    fact "unsure $name denials" "$(grep -h '"policy_rule_id":"RULE_UNKNOWN"' "/ledger/$name"/*.jsonl | grep -c '"enforcement":"blocked"')"
    rgt verify "/ledger/$name" >&2
    fact "verify $name" $?
}

reads='if read -r x <f; then echo done; else echo refused; fi'
unsure crowded too_many_states sh -c "cd /data/unsure/crowd/abcdefghijk; $reads; cd ../abc; $reads"
unsure deep walk_failed sh -c 'cd /data/unsure/deep && exec /full/unsure down 70 1'
unsure long sections_full sh -c 'cd /data/unsure/long && exec /full/unsure down 58 250'
# More tasks than attempts can be told from each other; what cannot be told is declared lost.
unsure many no_slot /full/unsure slots 2100
fact "unsure many lost" "$(cat /ledger/many/*.jsonl | grep -c '"kind":"gap"')"
