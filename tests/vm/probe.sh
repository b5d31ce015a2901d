# An unprivileged agent looks for what it may delete.
id -u >&2
for n in 0 1 2 3 4; do
    unlink /data/probed/present$n
    unlink /data/probed/absent$n
    unlink /data/secret/present$n
    unlink /data/secret/absent$n
done
exit 0
