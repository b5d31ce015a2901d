# Sourced by families.sh: programs by what they hold, on a filesystem that says when a file was changed. A daemon and `fact`
# are there.
mkdir -p /pinned /steps
dd if=/dev/zero of=/pinned.img bs=1M count=16 2>/dev/null
mke2fs -F /pinned.img >/dev/null 2>&1
mount -o loop /pinned.img /pinned
fact "contents filesystem" $?
# One is run, by whoever it is; the rest connect.
for name in tool other copied own; do cp /usr/local/bin/families /pinned/$name; done
cp /bin/busybox /pinned/busybox.run
cp /usr/local/bin/families /steps/here
digest=$(sha256sum /pinned/tool | cut -d ' ' -f 1)
run=$(sha256sum /pinned/busybox.run | cut -d ' ' -f 1)
cat >/contents.yaml <<END
version: 1
name: contents
mode: enforce
default: allow
on_unknown: deny
rules:
  - id: ONLY_TOOLS
    deny: net.connect
    exe: { not: ["/pinned/{tool,copied,own}@sha256:$digest", "/steps/here@sha256:$digest"] }
  - id: RUN
    allow: proc.exec
    path: "/pinned/busybox.run@sha256:$run"
  - id: NO_OTHER
    deny: proc.exec
    path: /pinned/busybox.run
END
cat >/contents-within.sh <<'END'
part=contents
. /t/try.sh
# step NAME: somebody who is no agent does it.
step() {
    touch "/steps/$1.go"
    while [ ! -e "/steps/$1.gone" ]; do sleep 0.1; done
}
try tool /pinned/tool connects
try other /pinned/other connects
try run /pinned/busybox.run true
# Its filesystem does not say when a mapping changed it.
try here /steps/here connects
# Moved over it: another file.
mv /pinned/copied /pinned/kept
cp /pinned/other /pinned/copied
try copied /pinned/copied connects
# What the run itself has written is nobody's word, whatever it holds; also through a mapping.
printf x >>/pinned/own
try own /pinned/own connects
cat /usr/local/bin/families >/pinned/own
try "own as it was" /pinned/own connects
# Changed beside the agent: not trusted from that moment on, then known for what it is, then as it was.
step changed
try "run changed" /pinned/busybox.run true
step read
try "run read" /pinned/busybox.run true
try "tool meanwhile" /pinned/tool connects
step back
try "run back" /pinned/busybox.run true
END
# until CHECK…: some seconds at most.
until_told() {
    tries=0
    while ! "$@" && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
}
# As the daemon read it last.
holds() {
    grep -h '"by":"contents"' /ledger/contents/*.jsonl | tail -n 1 | grep -q "busybox.run@sha256:$1"
}
step() {
    while [ ! -e "/steps/$1.go" ]; do sleep 0.1; done
    shift
    "$@"
}
{
    step changed sh -c 'printf x >>/pinned/busybox.run'
    changed=$(sha256sum /pinned/busybox.run | cut -d ' ' -f 1)
    touch /steps/changed.gone
    step read until_told holds $changed
    touch /steps/read.gone
    step back sh -c "cat /bin/busybox >/pinned/busybox.run"
    until_told holds $run
    touch /steps/back.gone
} &
rgt exec --policy /contents.yaml --name contents --ledger /ledger/contents -- sh /contents-within.sh
fact "exec contents" $?
for rule in ONLY_TOOLS NO_OTHER RULE_UNKNOWN; do
    fact "contents denials $rule" "$(grep -h "\"policy_rule_id\":\"$rule\"" /ledger/contents/*.jsonl | grep -c '"enforcement":"blocked"')"
done
rgt verify /ledger/contents >&2
fact "verify contents" $?
umount /pinned
