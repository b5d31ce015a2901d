# What an agent meets under language.yaml.
part=language
. /t/try.sh

try pem cat /data/g/a.pem
try key cat /data/g/b.key
try txt cat /data/g/c.txt
try env cat /data/x/y/.env
try inner cat /data/a/b/deep/x1
try port nc -w 1 127.0.0.1 7001
try "other port" nc -w 1 127.0.0.1 7002
try "confidential port" nc -w 1 127.0.0.1 7003
try confidential cat /data/levels/a
try "confidential write" sh -c 'echo more >>/data/levels/a'
try regulated cat /data/levels/top/b
try "regulated write" sh -c 'echo more >>/data/levels/top/b'
try before touch /data/after/one
cat /data/secret/s >/dev/null
try after touch /data/after/two
try "a child after" sh -c 'touch /data/after/three'
