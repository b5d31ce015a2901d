# What the next agent meets: nothing is left of what the one before has written.
part=emptied
. /t/try.sh

cp /bin/busybox /w/busybox.again
try own /w/busybox.again true
try "of the one before" /w/busybox.full true
outside emptied
