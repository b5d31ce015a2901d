# Sourced by families.sh: one policy for agents whose directories differ. A daemon and `fact` are there.
mkdir -p /own/a /own/b/deep /own/mounted
mount -t tmpfs none /own/mounted
mkdir /own/mounted/c
cat >/own.yaml <<'END'
version: 1
name: own
mode: enforce
default: allow
on_unknown: deny
rules:
  - { id: NO_TOOLS, deny: net.connect, exe: { not: "${workspace}/families" } }
  - { id: ELSEWHERE, deny: file.create, path: { not: ["${workspace}/**", "/dev/**"] } }
END
cat >/own-within.sh <<'END'
part="own $1"
. /t/try.sh
make() { touch "$1/new-$2" && rm "$1/new-$2"; }
try a make /own/a $$
try b make /own/b/deep $$
try c make /own/mounted/c $$
try above make /own $$
try tool ./families connects
END
for directory in /own/a /own/b/deep /own/mounted/c / /own; do
    cp /usr/local/bin/families "$directory/families"
    (cd "$directory" && rgt exec --policy /own.yaml --name "own$directory" --ledger /ledger/own -- sh /own-within.sh "$directory")
    fact "exec own $directory" $?
done
rm /families
rgt verify /ledger/own >&2
fact "verify own" $?
umount /own/mounted
