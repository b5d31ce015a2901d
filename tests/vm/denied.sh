# An agent that may delete nothing at all.
: >/tmp/w/denying
until [ -e /tmp/w/try1 ]; do sleep 0.1; done
busybox unlink /data/last
rgt unload
echo $? >/tmp/w/unload
: >/tmp/w/tried1
until [ -e /tmp/w/try2 ]; do sleep 0.1; done
busybox unlink /data/last
: >/tmp/w/tried2
