# The agent: tries to delete, each time by other means. `@` check, status, what stands there then, message.

# try CHECK PLACE COMMAND…: runs the command, then says what stands at the place.
try() {
    check=$1 place=$2
    shift 2
    message=$("$@" 2>&1)
    status=$?
    if [ ! -e "$place" ]; then
        state=gone
    elif [ -f "$place" ]; then
        state=$(wc -c <"$place")
    else
        state=there
    fi
    printf '@\t%s\t%s\t%s\t%s\n' "$check" "$status" "$state" "$(echo "$message" | tr '\n\t' '  ')"
}

in_namespace() { unshare -m sh -c "$1"; }

try unlink /data/unlink unlink /data/unlink
try rmdir /data/dir rmdir /data/dir
try rename_away /data/away mv /data/away /data/elsewhere
try rename_into_tmp /data/from mv /data/from /tmp/w/from
echo longer content >/tmp/w/over
try rename_over /data/over mv /tmp/w/over /data/over
try truncate /data/truncate sh -c ': >/data/truncate'
try cut /data/cut truncate -s 0 /data/cut
try append /data/append sh -c 'echo more >>/data/append'
try kernels_own /proc/self/comm sh -c 'echo called >/proc/self/comm'
try kernels_own_cut /proc/self/comm truncate -s 0 /proc/self/comm
ln -s /data /tmp/w/link
try symlink /data/symlink unlink /tmp/w/link/symlink
try dots /data/dots unlink /tmp/w/../../data/dots
try own_mount /data/own/x unlink /data/own/x

echo x >/tmp/w/unlink
try tmp_unlink /tmp/w/unlink unlink /tmp/w/unlink
mkdir /tmp/w/dir
try tmp_rmdir /tmp/w/dir rmdir /tmp/w/dir
echo x >/tmp/w/old
echo x >/tmp/w/new
try tmp_rename_over /tmp/w/old mv /tmp/w/old /tmp/w/new
try tmp_rename_out /tmp/w/new mv /tmp/w/new /data/new
echo x >/tmp/w/truncate
try tmp_truncate /tmp/w/truncate sh -c ': >/tmp/w/truncate'
ln /data/hard /tmp/w/hard
try tmp_hard_link /tmp/w/hard unlink /tmp/w/hard
echo x >/tmp/own/x
try tmp_own_mount /tmp/own/x unlink /tmp/own/x

mount --bind /data /tmp/m
try bind /data/bind unlink /tmp/m/bind
echo x >/tmp/w/bound
mount --bind /tmp/w /data/bound
try tmp_bind /tmp/w/bound unlink /data/bound/bound
try chroot /data/jail/tmp/x chroot /data/jail /bin/busybox unlink /tmp/x
try tmp_chroot /tmp/jail/data/x chroot /tmp/jail /bin/busybox unlink /data/x
try namespace /data/ns in_namespace 'mount --bind /data /tmp/ns && unlink /tmp/ns/ns'
try foreign /tmp/nothing in_namespace 'mount -t tmpfs new /tmp/ns && echo x >/tmp/ns/foreign && unlink /tmp/ns/foreign'
if grep -q ' /tmp/overlay ' /proc/mounts; then
    try tmp_overlay /tmp/overlay/x unlink /tmp/overlay/x
    # What is written in an overlay lies in its upper directory, where deleting is forbidden.
    echo more >>/tmp/overlay/y
    try tmp_overlay_upper /tmp/overlay/y unlink /tmp/overlay/y
    try overlay /data/merged/x unlink /data/merged/x
    echo more >>/data/merged/y
    try overlay_upper /data/merged/y unlink /data/merged/y
fi

touch /tmp/w/go
tries=0
while [ ! -e /tmp/w/gone ] && [ $tries -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
exit 7
