# Runs as root in the VM: one attempt of each family, under a policy that denies it and under one that does not.
# Tells what vm.sh tells, each check with its policy before its name.
fact() { printf '#\t%s\t%s\n' "$1" "$2"; }

prepare() {
    rm -rf /data 2>/dev/null
    mkdir -p /data/read /data/write /data/list /data/create /data/link /data/rename /data/attr /data/exec /data/map
    mkdir -p /data/mount /data/mounted /data/tree /data/errno /data/run /data/inside /data/others
    for file in read/x write/x create/there link/x rename/x attr/x map/x errno/x errno/z others/x tree/over tree/other; do
        echo some >/data/$file
    done
    chmod 600 /data/others/x
    chown 1:1 /data/others/x
    dd if=/dev/zero of=/data/map/x bs=4096 count=1 2>/dev/null
    cp /bin/busybox /data/exec/busybox
    cp /bin/busybox /data/errno/busybox
    printf '#!/data/exec/busybox true\n' >/data/script
    printf '#!/bin/busybox true\n' >/data/exec/script
    chmod 755 /data/script /data/exec/script
    mkfifo /data/tree/pipe
    mount -t tmpfs none /data/mounted
}

# Sockets that are no agent's.
listen() {
    families listens /data/run/denied.sock /data/run/denied.seq /data/run/denied.log /data/run/mute.sock \
        /data/run/mute.seq /data/run/mute.log /data/run/open.sock /data/run/open.log /data/outside.sock \
        /data/inside/rest.sock @rgt-denied/1 @rgt-open >/listening &
    listener=$!
    until grep -q ready /listening || ! kill -0 $listener; do sleep 0.1; done
}

# part NAME POLICY PART [RELAXED]: the checks' names get NAME before them.
part() {
    prepare
    listen
    # What the policies speak of is not to be the guard's.
    rgt exec --set "guard.relax=${4:-GUARD_BPF}" --policy "$2" --name "$1" --ledger "/ledger/$1" -- families "$3" >/told
    fact "exec $1" $?
    sed "s/^@	/@	$1 /" /told
    fact "unlisted $1" "$(cat "/ledger/$1"/*.jsonl | grep -c '"syscall":"unlisted"')"
    rgt verify "/ledger/$1" >&2
    fact "verify $1" $?
    grep -h -e '"policy_verdict":"DENY"' -e '"type":"rgt.sandbox.event"' -e '"kind":"gap"' "/ledger/$1"/*.jsonl |
        sed "s/^/%	$1	/"
    umount /data/mounted /data/mount 2>/dev/null
    kill $listener
    wait $listener
    return 0
}

mkdir -p /ledger
umount /tmp
# One daemon for all of them: loading its programs is what takes long here.
rgt run --set ledger.dir=/ledger/daemon >&2 &
daemon=$!
until rgt agents >/dev/null 2>&1 || ! kill -0 $daemon; do sleep 0.2; done
ip link set lo up
. /t/answers.sh
part denied /t/places.yaml places
part allowed /t/bare.yaml places
part bare /t/bare.yaml bare
part free /t/places.yaml bare
part errnos /t/errnos.yaml errnos
part usual /t/places.yaml errnos
part sockets /t/sockets.yaml sockets
part unasked /t/places.yaml sockets
part unconnected /t/bare.yaml sockets
part signals /t/numbers.yaml signals GUARD_SIGNALS
part unsignalled /t/places.yaml signals GUARD_SIGNALS
part capabilities /t/numbers.yaml capabilities
part unneeded /t/places.yaml capabilities
fact "capabilities watched" "$(cat /ledger/capabilities/*.jsonl | grep -c '"watched":\["SEE_SETUID"\]')"

# What an agent inherits is judged as if it had opened, or connected, it.
prepare
echo some >/data/other
show='for fd in 3 4 5 6; do readlink /proc/self/fd/$fd; done'
rgt exec --policy /t/places.yaml --name heir --ledger /ledger/heir -- sh -c "$show" \
    3</data/other 4</data/read/x 5>>/data/write/x 6<>/data/write/x >/told
fact "exec heir" $?
fact "inherited" "$(tr '\n' ' ' </told)"
fact "inherited denials" "$(grep -h '"syscall":"receive"' /ledger/heir/*.jsonl | grep -c '"enforcement":"blocked"')"
rgt exec --policy /t/places.yaml --name ignorant --observe --ledger /ledger/ignorant -- sh -c "$show" 3</data/read/x >/told
fact "inherited observed" "$(cat /told)"
families connected rgt exec --policy /t/bare.yaml --name connected --ledger /ledger/connected -- readlink /proc/self/fd/7 >/told
fact "inherited connection" "$(cat /told)"
fact "inherited connection denials" "$(grep -h '"syscall":"receive"' /ledger/connected/*.jsonl | grep -c NO_CONNECT)"
families connected rgt exec --policy /t/places.yaml --name reached --ledger /ledger/reached -- readlink /proc/self/fd/7 >/told
fact "inherited connection allowed" "$(sed 's/[0-9]*//g' /told)"

# Globs, destinations, and what was seen before.
mkdir -p /data/g /data/x/y /data/a/b/deep /data/secret /data/after /data/levels/top
for file in levels/a levels/top/b g/a.pem g/b.key g/c.txt x/y/.env a/b/deep/x1 secret/s; do
    echo some >/data/$file
done
rgt exec --policy /t/language.yaml --name language --ledger /ledger/language -- sh /t/language.sh
fact "exec language" $?
rgt exec --policy /t/language.yaml --name another --ledger /ledger/another -- touch /data/after/four
fact "language of another" $?
fact "language labels" "$(grep -h '"watched":\["SEEN"\]' /ledger/language/*.jsonl | grep -c '"labels":\["secret"\]')"
fact "language risk" "$(grep -h '"watched":\["SEEN"\]' /ledger/language/*.jsonl | grep -c '"added":20')"
fact "language denials" "$(grep -h '"policy_verdict":"DENY"' /ledger/language/*.jsonl | grep -c '"enforcement":"blocked"')"
rgt verify /ledger/language >&2
fact "verify language" $?

# Which program acts.
prepare
mkdir -p /data/exe/in /data/exe/out
cp /usr/local/bin/families /data/exe/in/
cp /usr/local/bin/families /data/exe/out/
rgt exec --policy /t/exe.yaml --name exe --ledger /ledger/exe -- sh /t/exe.sh
fact "exec exe" $?
for rule in ONLY_TALKERS NOT_BY_OUT OUT_RUNS_NOTHING GUARD_PROGRAM RULE_UNKNOWN; do
    fact "exe denials $rule" "$(grep -h "\"policy_rule_id\":\"$rule\"" /ledger/exe/*.jsonl | grep -c '"enforcement":"blocked"')"
done
rgt verify /ledger/exe >&2
fact "verify exe" $?

# What a run has written does not run in it; what others have does.
mkdir -p /w /lower /upper /work /over
for file in /w/busybox.old /w/inherited /lower/busybox.old /lower/busybox.low; do cp /bin/busybox $file; done
mount -t overlay -o lowerdir=/lower,upperdir=/upper,workdir=/work overlay /over
fact "written overlay" $?

# outsider NAME: no agent, and makes /w/busybox.NAME when it is asked to.
outsider() {
    while [ ! -e "/w/$1.go" ]; do sleep 0.1; done
    cp /bin/busybox "/w/busybox.$1"
    touch "/w/$1.gone"
}

# writes NAME SCRIPT…: under written.yaml, with its own ledger.
writes() {
    name=$1
    shift
    rgt exec --policy /t/written.yaml --name "$name" --ledger "/ledger/$name" -- "$@" 3>>/w/inherited
    fact "exec $name" $?
    rgt verify "/ledger/$name" >&2
    fact "verify $name" $?
    fact "denials $name" "$(grep -h '"policy_rule_id":"NO_OWN"' "/ledger/$name"/*.jsonl | grep -c '"enforcement":"blocked"')"
}
writes another cp /bin/busybox /w/busybox.another
outsider written &
writes written sh /t/written.sh
# Filling the table takes a while: on one kernel.
case $(uname -r) in
6.12*)
    families hands /w/socket 66000 &
    outsider filled &
    writes full sh /t/full.sh
    fact "full told" "$(cat /ledger/*/*.jsonl /var/lib/rgt/ledger/*.jsonl | grep -c '"written_full"')"
    outsider emptied &
    writes emptied sh /t/emptied.sh
    ;;
esac

# What no rule speaks of goes as it always goes.
prepare
sh /t/benign.sh >/plain 2>&1
prepare
rgt exec --policy /t/places.yaml --name benign --ledger /ledger/benign -- sh /t/benign.sh >/governed 2>/said
fact "exec benign" $?
cat /said >&2
diff /plain /governed >&2
fact "benign differs" $?
fact "benign lines" "$(wc -l </governed)"
fact "benign denials" "$(grep -c '"policy_verdict":"DENY"' /ledger/benign/*.jsonl)"
. /t/limits.sh
. /t/contents.sh
. /t/own.sh
. /t/unsure.sh
kill $daemon
wait $daemon
fact daemon $?
exit 0
