# An agent that tries what it may not, without a pause, in four processes; each says at its end how often.
work() {
    n=0
    while [ ! -e /tmp/w/stop ]; do
        # The file is gone: that must never be.
        busybox unlink /data/f$1 2>/dev/null && echo "$1" >>/tmp/w/gone
        n=$((n + 1))
        echo $n >/tmp/w/tried.$1
    done
}
# The daemon gets its share of the one processor, and is preempted all the same.
renice -n 15 $$ >/dev/null
for number in 0 1 2 3; do work $number & done
# Begins when no daemon lives: a child of a marked task is marked.
late() {
    until [ -e /tmp/w/$1 ]; do sleep 0.1; done
    (busybox unlink /data/last && echo deleted || echo refused) >/tmp/w/$1-new 2>/dev/null
    mv /tmp/w/$1-new /tmp/w/$1-done
}
late alone &
late again &
: >/tmp/w/begun
wait
