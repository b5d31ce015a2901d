# What an agent meets that has written more files than can be noted.
part=full
. /t/try.sh

printf '#\tfull taken\t%s\n' "$(families takes /w/socket)"
cp /bin/busybox /w/busybox.full
try own /w/busybox.full true
try old /w/busybox.old true
outside filled
