# Four processes of an agent that fork and delete, each in files of its own.
for first in 1 2 3 4; do
    (
        n=$first
        while [ $n -le 240 ]; do
            busybox unlink /data/load/f$n
            n=$((n + 4))
        done
    ) &
done
wait
