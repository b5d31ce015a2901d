# What an agent meets under exe.yaml, as one program and as another: /data/exe/in may connect, /data/exe/out may not.
part=exe
. /t/try.sh
in=/data/exe/in/families
out=/data/exe/out/families

try in $in connects
try out $out connects
try shell nc -w 1 127.0.0.1 7001
try "in child" $in child connects
try "out child" $out child connects
try "in becomes out" $in becomes $out connects
try "out becomes in" $out becomes $in connects
try "in from memory" $in from_memory connects

# Other names for the same programs.
ln -s $in /data/exe/out/link
ln -s $out /data/exe/in/link
try "link to in" /data/exe/out/link connects
try "link to out" /data/exe/in/link connects
mkdir /data/exe/in/bound /data/exe/in/new
mount --bind /data/exe/out /data/exe/in/bound
try "bound out" /data/exe/in/bound/families connects
umount /data/exe/in/bound
# A filesystem that nobody knows: its programs may be any.
mount -t tmpfs none /data/exe/in/new
cp $in /data/exe/in/new/families
try "foreign in" /data/exe/in/new/families connects
umount /data/exe/in/new

# Beside a place; a plain list does not speak of what has no name.
echo some >/data/read/y
try "in deletes" $in unlinks /data/read/y
try "out deletes" $out unlinks /data/read/x
try "out elsewhere" $out unlinks /data/write/x
try "out from memory deletes" $out from_memory unlinks /data/read/x
echo some >/data/read/x
try "in ring" $in ring_reads /data/read/x
try "out ring" $out ring_reads /data/read/x

# The caller's program counts, not the one that it calls.
try "in runs" $in becomes /data/exec/busybox true
try "out runs" $out becomes /data/exec/busybox true
# Nobody passes for another.
try "out passes for in" $out passes_for $in
