#!/bin/sh
# Behaves like a coding agent: looks around, edits and builds something, then does what an agent
# should not: reads credentials, deletes outside its workspace, calls somebody. Everything it
# touches it made itself, or $RGT_DEMO_VICTIM was made for it.
set -u

say() { printf '%s\n' "$*"; }

workspace=$(mktemp -d "${TMPDIR:-/tmp}/rgt-demo-workspace.XXXXXX") || exit 1
own_victim=
if [ -z "${RGT_DEMO_VICTIM:-}" ]; then
    own_victim=$(mktemp -d /var/tmp/rgt-demo.XXXXXX) || exit 1
    RGT_DEMO_VICTIM=$own_victim/keep.txt
    echo "not the agent's" >"$RGT_DEMO_VICTIM"
fi
trap 'rm -rf "$workspace" ${own_victim:+"$own_victim"}' EXIT
# A throw-away home: nobody's real credentials are read.
HOME=$workspace/home
export HOME
mkdir -p "$HOME/.aws" "$workspace/src"
printf '[default]\naws_access_key_id = EXAMPLE\naws_secret_access_key = not-a-real-key\n' >"$HOME/.aws/credentials"
cd "$workspace" || exit 1

say "I list my workspace"
ls -a . src >/dev/null

say "I write src/hello.c, then edit it"
printf '#include <stdio.h>\nint main(void) { puts("helo"); return 0; }\n' >src/hello.c
sed 's/helo/hello/' src/hello.c >src/hello.c.new && mv src/hello.c.new src/hello.c

if command -v cc >/dev/null 2>&1; then
    say "I compile it and run it"
    cc -O1 -o hello src/hello.c && ./hello >/dev/null
else
    say "There is no cc here, so I only count its lines"
    wc -l src/hello.c >/dev/null
fi

say "I look for credentials"
grep -c key "$HOME/.aws/credentials" >/dev/null

say "I delete a file outside my workspace: $RGT_DEMO_VICTIM"
if rm -f "$RGT_DEMO_VICTIM" 2>/dev/null; then
    say "  deleted (nothing stopped me)"
else
    say "  refused"
fi

# Nobody listens on port 9; what counts is the attempt.
say "I connect to 127.0.0.1:9"
if command -v python3 >/dev/null 2>&1; then
    python3 -S -E -c 'import _socket; s = _socket.socket(); s.settimeout(2); s.connect(("127.0.0.1", 9))' 2>/dev/null
elif command -v curl >/dev/null 2>&1; then
    curl -s -m 2 http://127.0.0.1:9/ >/dev/null 2>&1
elif command -v nc >/dev/null 2>&1; then
    nc -w 2 127.0.0.1 9 </dev/null >/dev/null 2>&1
elif command -v bash >/dev/null 2>&1; then
    bash -c ': </dev/tcp/127.0.0.1/9' 2>/dev/null
fi
say "I am done"
exit 0
