# Runs as root in the VM. `~` who, kind, op, user, tries, open used, shut used, neither ·
# `#` a fact and its value · `%` a record.
tries=$1
fact() { printf '#\t%s\t%s\n' "$1" "$2"; }
umount /tmp
chmod 1777 /tmp

# Of compressed segments too.
records() { rgt tail --json --ledger /ledger "$@"; }

fresh() {
    rm -rf /r
    mkdir -p /r/o /r/s/d /r/s/1/2/3/4 /r/play/a /r/play/b
    printf open >/r/o/victim
    printf shut >/r/s/victim
    printf shut >/r/s/d/victim
    ln -s /r/o /r/way
    ln -s /r/s /r/other
    ln -s /r/o /r/play/a/l
    ln -s /r/s /r/play/b/l
    chmod -R 777 /r
    chown -hR 1000 /r
}

rgt run --set ledger.dir=/ledger --set trajectory.length=0 >&2 &
daemon=$!
while [ ! -S /run/rgt/control.sock ] && kill -0 $daemon; do sleep 0.1; done
for op in read truncate; do
    for kind in argument links parents inside; do
        fresh
        [ $kind = inside ] || evade race naive $kind $op "$tries" 1000
        fresh
        mover=
        if [ $kind = inside ]; then
            evade race move $kind $op 0 1000 &
            mover=$!
        fi
        rgt exec --policy /t/policies/race.yaml --name $op.$kind -- evade race agent $kind $op "$tries" 1000
        fact "exec $op $kind" $?
        [ -z "$mover" ] || kill $mover
        fact "shut $op $kind" "$([ "$(cat /r/s/victim)" = shut ]; echo $?)"
        fact "records $op $kind" "$(records --agent "$op.$kind" --rule NO_SHUT | wc -l)"
    done
done
kill $daemon
wait $daemon
fact daemon $?
records | grep -e '"kind":"gap"' -e '"kind":"start"' | sed 's/^/%	/'
