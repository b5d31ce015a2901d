# Runs as root in the VM: every technique by itself and as an agent, as root and as a user.
# `@` phase, user, family, technique, effect · `=` the same with start, end (ns) and exit status ·
# `%` a record of a denial · `#` a fact and its value.
# Word splitting is what turns the list into words.
families="${FAMILIES:-delete read create exec net leave guard kernel others way written numbers}"
rgt=/usr/bin/rgt

fact() { printf '#\t%s\t%s\n' "$1" "$2"; }

# One filesystem for all, so that names can be moved.
umount /tmp
chmod 1777 /tmp
mkdir -p /s /logs /run/rgt
# An ordinary user's own mounts, where the kernel leaves it to this switch.
echo 1 >/proc/sys/kernel/unprivileged_userns_clone 2>/dev/null
echo 3 >/proc/sys/net/ipv4/tcp_fastopen
# Programs that the kernel runs of itself; modprobe is missing, as in many containers.
for helper in /sbin/request-key /opt/bridge-stp; do printf '#!/bin/sh\n' >$helper && chmod 755 $helper; done
ln -s /opt/bridge-stp /sbin/bridge-stp
# Datagrams made by hand look like strangers with this machine's own address.
for key in route_localnet accept_local; do echo 1 >/proc/sys/net/ipv4/conf/lo/$key; done
fact lsm "$(cat /sys/kernel/security/lsm)"

# Both phases begin with the same files and with a server of their own.
begin() {
    rm -rf /e /s
    mkdir -m 755 /e /s
    cp /usr/local/bin/evade /e/own
    chmod 4755 /e/own
    evade setup "$1" || fact "setup $1" $?
    evade serve "$1" >&2 &
    server=$!
    while [ ! -e /e/serving ]; do sleep 0.1; done
}

# end PHASE USER
end() {
    sleep 0.2
    kill $server
    wait $server
    evade effects "$2" | sed "s/^/@	$1	/"
    for family in $families; do
        sed "s/^/=	$1	/" "/logs/$1.$2.$family" || fact "no log of $1 $2 $family" missing
    done
}

start() {
    $rgt run --set ledger.dir=/ledger --set trajectory.length=0 >&2 &
    daemon=$!
    while [ ! -S /run/rgt/control.sock ] && kill -0 $daemon; do sleep 0.1; done
}

start
for user in 0 1000; do
    begin $user
    for family in $families; do evade run $family $user /logs/control.$user.$family; done
    end control $user
    begin $user
    for family in $families; do
        $rgt exec --policy /t/policies/$family.yaml --name $family.$user -- evade run $family $user /logs/policy.$user.$family
        fact "exec $family $user" $?
    done
    end policy $user
done
# What the operator relaxes, by name, and nobody else.
setting='echo 0 >/proc/sys/kernel/panic'
policy=/t/policies/guard.yaml
relaxed() { $rgt exec --policy $policy --name relaxed "$@" -- sh -c "$setting" 2>>/relaxed; }
relaxed --set guard.relax=GUARD_SETTINGS,GUARD_BPF
fact "relaxed" $?
relaxed --set guard.relax=GUARD_CLOCK
fact "another relaxed" $(($? == 0))
relaxed --set guard.relax=GUARD_SETTING
fact "no such rule" $(($? == 0))
relaxed --observe
fact "observed" $?
$rgt exec --name unguarded -- sh -c "$setting"
fact "no policy" $?
chmod 755 /t/policies
su agent -s /bin/sh -c "$rgt exec --set guard.relax=GUARD_SETTINGS --policy $policy -- true" 2>>/relaxed
fact "relaxed by a user" $(($? == 0))
fact "told of" $(($(grep -c -e 'did you mean .GUARD_SETTINGS' -e 'only root may set this' /relaxed) != 2))
kill $daemon
wait $daemon
fact daemon $?
$rgt verify /ledger >&2
fact verify $?
fact "observed is told" $(($(cat /ledger/*.jsonl | grep -c '"enforcement":"would_block".*GUARD_SETTINGS') == 0))
cat /ledger/*.jsonl | grep -e '"policy_verdict":"DENY"' -e '"kind":"gap"' -e '"kind":"faults"' -e '"kind":"start"' | sed 's/^/%	/'
