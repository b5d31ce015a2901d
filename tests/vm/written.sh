# What an agent meets under written.yaml.
part=written
. /t/try.sh

try old /w/busybox.old true
try another /w/busybox.another true
cp /bin/busybox /w/busybox.own
try own /w/busybox.own true
# Opened for writing before there was an agent.
try inherited families maps /w/inherited
try "not inherited" families maps /w/busybox.old
outside written
if [ -e /over/busybox.low ]; then
    try "overlay old" /over/busybox.old true
    cp /bin/busybox /over/busybox.own
    try "overlay own" /over/busybox.own true
    printf x >>/over/busybox.low
    try "overlay copied up" /over/busybox.low true
    try "overlay mapped" families maps /over/busybox.low
fi
