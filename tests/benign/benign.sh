# Runs as root in the VM. `~` where, name, status, checksum · `#` a fact and its value · `%` a record.
fact() { printf '#\t%s\t%s\n' "$1" "$2"; }
umount /tmp
chmod 1777 /tmp
mkdir -p /home/agent /cases /ledger
# Its clone runs the other half of itself.
[ ! -e /usr/bin/git ] || ln -s git /usr/bin/git-upload-pack
chown 1000:1000 /home/agent
cp /t/* /cases

# A container's filesystem, mounted before the policy is in force.
mkdir -p /merged /overlay
mount -t tmpfs overlay /overlay
mkdir /overlay/upper /overlay/work
if mount -t overlay -o lowerdir=/,upperdir=/overlay/upper,workdir=/overlay/work overlay /merged; then
    mount -t proc proc /merged/proc
    mount --bind /dev /merged/dev
    mount -t tmpfs shm /merged/dev/shm
    chmod 1777 /merged/dev/shm
    fact overlay 0
else
    fact overlay 1
fi

# fresh DIRECTORY USER
fresh() {
    rm -rf "$1" /tmp/*
    mkdir -p "$1"
    chown -R "$2:$2" "$1"
    cd "$1"
}
run() { sed "s/^~/~	$1/"; }

fresh /home/agent/work 1000
su agent -s /bin/bash -c 'bash /cases/cases.sh' | run "control user"
fresh /home/agent/work 1000
# As sudo would: the agent is the user's, and so is ${home}.
SUDO_UID=1000 SUDO_GID=1000 SUDO_USER=agent rgt exec --policy /t/policy.yaml --name user --ledger /home/ledger -- bash /cases/cases.sh | run "agent user"
fresh /merged/home/agent/work 0
rgt exec --policy /t/policy.yaml --name container --ledger /ledger/container -- chroot /merged env CASES_HOME=/home/agent/work bash -c 'cd /home/agent/work && bash /cases/cases.sh' | run "agent container"
for ledger in /home/ledger /ledger/container; do
    rgt verify $ledger >&2
    fact "verify $ledger" $?
    grep -h -e '"enforcement":"blocked"' -e '"kind":"start"' -e '"kind":"gap"' $ledger/*.jsonl | sed 's/^/%	/'
done
