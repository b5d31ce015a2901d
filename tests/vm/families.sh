# Runs as root in the VM: one attempt of each family, under a policy that denies it and under one that does not.
# Tells what vm.sh tells, each check with its policy before its name.
fact() { printf '#\t%s\t%s\n' "$1" "$2"; }

prepare() {
    rm -rf /data
    mkdir -p /data/read /data/write /data/list /data/create /data/link /data/rename /data/attr /data/exec /data/map
    mkdir -p /data/mount /data/mounted /data/tree
    for file in read/x write/x create/there link/x rename/x attr/x map/x; do
        echo some >/data/$file
    done
    dd if=/dev/zero of=/data/map/x bs=4096 count=1 2>/dev/null
    cp /bin/busybox /data/exec/busybox
    printf '#!/data/exec/busybox true\n' >/data/script
    printf '#!/bin/busybox true\n' >/data/exec/script
    chmod 755 /data/script /data/exec/script
    mount -t tmpfs none /data/mounted
}

# part NAME POLICY: the checks' names get NAME before them.
part() {
    prepare
    rgt exec --policy "$2" --name "$1" --ledger "/ledger/$1" -- /x/families "$3" >/told
    fact "exec $1" $?
    sed "s/^@	/@	$1 /" /told
    rgt verify "/ledger/$1" >&2
    fact "verify $1" $?
    grep -h -e '"policy_verdict":"DENY"' -e '"type":"rgt.sandbox.event"' -e '"kind":"gap"' "/ledger/$1"/*.jsonl |
        sed "s/^/%	$1	/"
    umount /data/mounted /data/mount 2>/dev/null
}

mkdir -p /ledger
umount /tmp
part denied /t/places.yaml places
part allowed /t/bare.yaml places
part bare /t/bare.yaml bare
part free /t/places.yaml bare
