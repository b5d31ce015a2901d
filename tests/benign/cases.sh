# Ordinary work in the current directory, by bash. Each case: `~` name, exit status, checksum of what it said.
# Cases whose program was not packed are not told.
# The container's home is another than the policy's.
export LC_ALL=C HOME=${CASES_HOME:-/home/agent} PYTHONDONTWRITEBYTECODE=1 GIT_EXEC_PATH=/usr/bin GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE='2026-01-01T00:00:00Z'
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
work=$PWD

it() {
    name=$1
    said=$(cd "$work" && eval "$2" 2>&1)
    status=$?
    printf '~\t%s\t%s\t%s\n' "$name" $status "$(echo "$said" | md5sum | cut -c1-8)"
    [ $status = 0 ] || printf '%s: %s\n' "$name" "$said" >&2
}
has() { [ -x "$1" ]; }

it pipe 'seq 100 | sort -rn | head -n 3 | tr "\n" " "'
it long_pipe 'seq 2000 | cat | cat | cat | cat | wc -l'
it process_substitution 'diff <(seq 3) <(seq 3) && paste <(seq 3) <(seq 4 6)'
it output_substitution 'seq 9 > >(tail -n 1); sleep 0.2'
it here_document 'cat <<END
some $((6 * 7))
END'
it here_string 'read -r a b <<<"one two"; echo $b $a'
it command_substitution 'echo "$(echo "$(echo deep)")"'
it subshells '(cd /; pwd); pwd | grep -c .'
it background 'sleep 0.1 & wait $!; echo $?'
it own_signals 'sleep 9 & kill $!; wait $! ; [ $? = 143 ]'
it trap 'bash -c "trap \"echo bye\" EXIT TERM; kill -TERM \$\$"; [ $? -le 143 ]'
it coprocess 'coproc cat; echo x >&${COPROC[1]}; read -r y <&${COPROC[0]}; echo $y'
it exec_redirect 'exec 5>r; echo five >&5; exec 5>&-; cat r'
it dev_null 'echo x >/dev/null; cat </dev/null'
it dev_zero 'head -c 10 /dev/zero | wc -c'
it dev_random 'head -c 10 /dev/urandom | wc -c'
it dev_tty 'ls -d /dev/tty'
it temporary_file 't=$(mktemp); echo x >"$t"; cat "$t"; rm "$t"'
it temporary_directory 'd=$(mktemp -d); touch "$d/a" "$d/b"; ls "$d"; rm -r "$d"'
it shared_memory 'echo x >/dev/shm/b.$$; cat /dev/shm/b.$$; rm /dev/shm/b.$$'
it copy 'echo one >a; cp a b; cmp a b'
it copy_tree 'mkdir -p t/u/v; echo x >t/u/v/f; cp -r t t2; cat t2/u/v/f'
it copy_attributes 'cp -a t t3; ls -l t3/u/v/f | cut -c1-10'
it move 'echo m >m1; mv m1 m2; cat m2'
it move_over 'echo 1 >o1; echo 2 >o2; mv o1 o2; cat o2'
it move_from_tmp 'echo t >/tmp/mv.$$; mv /tmp/mv.$$ moved; cat moved'
it move_directory 'mkdir -p d1/x; mv d1 d2; ls d2'
it remove 'touch gone; rm gone; [ ! -e gone ]'
it remove_tree 'cp -r t t4; rm -rf t4; [ ! -e t4 ]'
it hard_link 'ln a a.link; cat a.link; rm a.link'
it symbolic_link 'ln -s a a.sym; cat a.sym; readlink a.sym; rm a.sym'
it modes 'chmod 600 a; ls -l a | cut -c1-10; chmod 644 a'
it touch_times 'touch -d "2020-01-01 00:00:00" a; date -u -r a +%Y'
it truncate 'seq 100 >l; truncate -s 10 l; wc -c <l; : >l; wc -c <l'
it append 'echo 1 >p; echo 2 >>p; cat p'
it fifo 'mkfifo f; (echo through >f &); cat f; rm f'
it archive 'tar cf t.tar t; mkdir -p out; tar xf t.tar -C out; cat out/t/u/v/f'
it compressed 'tar cf - t | gzip | gunzip | tar tf - | sort'
it compress_in_place 'seq 1000 >z; gzip -f z; gunzip z.gz; wc -l <z'
it find_files 'find t -type f -name f | sort'
it find_and_remove 'mkdir -p fr; touch fr/1 fr/2 fr/3; find fr -type f -exec rm {} \;; ls fr | wc -l'
it find_xargs 'touch x1 x2; ls x1 x2 | xargs rm; ls | grep -c "^x[12]$" || true'
it sed_in_place 'echo old >s; sed -i s/old/new/ s; cat s'
it awk 'seq 10 | awk "{ s += \$1 } END { print s }"'
it grep_recursively 'grep -rl x t | sort'
it sort_large 'seq 20000 | sort -r | sort -n | tail -n 1'
it parts 'seq 100 >j; head -n 30 j >part.1; tail -n 70 j >part.2; cat part.* | cmp - j; rm part.*'
it patch 'printf "a\nb\n" >p1; printf "a\nc\n" >p2; diff -u p1 p2 >p.diff; cp p1 p3; patch p3 p.diff; cmp p2 p3'
it read_system 'cat /etc/passwd | wc -l; ls /usr/bin | grep -c "^ls$"'
it read_proc 'cat /proc/self/comm /proc/sys/kernel/ostype; ls /proc/self/fd | wc -l'
it write_own_proc 'echo 500 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj'
it script_file 'printf "#!/bin/sh\necho from \$1\n" >sc; chmod +x sc; ./sc here'
it own_program 'cp /bin/busybox ./bb; ./bb echo copied; rm bb'
it cache 'mkdir -p ~/.cache/x; echo c >~/.cache/x/y; rm -r ~/.cache/x'
it environment 'env -i PATH="$PATH" sh -c "echo \$PATH" | grep -c bin'
it resource_limit 'ulimit -n 64; ls / >/dev/null; ulimit -n'
it new_session 'setsid sh -c "echo session"'
it time_limit 'timeout 5 echo quick'
it loopback_server 'echo hello page >index.html
    httpd -f -p 127.0.0.1:8181 -h . & server=$!
    for n in 1 2 3 4 5 6 7 8 9; do wget -q -O- http://127.0.0.1:8181/index.html 2>/dev/null && break; sleep 0.3; done
    kill $server'
it datagrams 'nc -u -l -p 8282 -w 2 >n & sleep 0.3; echo gram | nc -u -w 1 127.0.0.1 8282; wait; cat n'
it own_group 'bash -c "set -m; (sleep 9 | sleep 9) & kill -TERM -- -\$!; wait \$!; [ \$? = 143 ]"'
it own_namespace_ids 'ls /proc/self/ns | wc -l'

if has /usr/bin/git; then
    it git_init 'git init -q -b main repo'
    it git_commit 'cd repo && echo one >f && git add f && git commit -qm one && git log --format=%s'
    it git_branch 'cd repo && git checkout -q -b side && echo two >>f && git commit -qam two && git checkout -q main && git merge -q side && cat f'
    it git_rebase 'cd repo && git checkout -q -b other HEAD~1 && echo x >g && git add g && git commit -qm g && git rebase -q main && git log --format=%s'
    it git_clone 'git clone -q --no-hardlinks repo clone && git -C clone fsck'
    it git_clean 'cd repo && touch junk && git clean -qfd && git reset -q --hard HEAD~1 && git status --short'
fi
if has /usr/bin/gcc; then
    echo 'static long call(long n, long a) { long r; __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a) : "rcx", "r11", "memory"); return r; } void _start(void) { call(60, 7); }' >c.c
    it compile 'gcc -ffreestanding -nostdinc -O1 -c c.c -o c.o'
    it link 'gcc -nostdlib -static c.o -o c && ./c; [ $? = 7 ]'
    it compile_by_pipe 'gcc -ffreestanding -nostdinc -pipe -O2 -nostdlib -static c.c -o c2 && ./c2; [ $? = 7 ]'
fi
if has /usr/bin/python3; then
    it python 'python3 -c "print(sum(range(10)))"'
    it python_temporary 'python3 -c "import tempfile; f = tempfile.NamedTemporaryFile(); f.write(b\"x\"); f.flush(); print(open(f.name).read())"'
    it python_processes 'python3 -c "import subprocess; print(subprocess.run([\"echo\", \"sub\"], capture_output=True, text=True).stdout)"'
    it python_modules 'echo "x = 5" >mod.py; export PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX="$PWD/pc"; python3 -c "import mod; print(mod.x)"; python3 -c "import mod; print(mod.x)"; rm -r pc mod.py'
    it python_own_bus 'python3 -c "
import os, socket
s = socket.socket(socket.AF_UNIX); s.bind(\"bus\"); s.listen()
if os.fork() == 0:
    c = socket.socket(socket.AF_UNIX); c.connect(\"bus\"); c.send(b\"own\"); os._exit(0)
print(s.accept()[0].recv(9)); os.wait(); os.remove(\"bus\")"'
    it python_own_processes 'python3 -c "
import fcntl, os, resource, signal, time
child = os.fork()
if child == 0:
    time.sleep(9); os._exit(1)
resource.prlimit(child, resource.RLIMIT_NOFILE, (64, 64)); os.setpriority(os.PRIO_PROCESS, child, 5)
os.sched_setaffinity(child, {0}); os.kill(child, 0); os.kill(child, signal.SIGKILL); time.sleep(0.3); os.kill(child, signal.SIGTERM)
os.wait(); r, w = os.pipe(); os.setpgid(0, 0)
fcntl.fcntl(r, fcntl.F_SETOWN, os.getpid()); fcntl.fcntl(r, fcntl.F_SETOWN, -os.getpgrp()); print(1)"'
    it python_server 'python3 -c "
import http.server, threading, urllib.request
s = http.server.HTTPServer((\"127.0.0.1\", 0), http.server.SimpleHTTPRequestHandler)
s.RequestHandlerClass.log_message = lambda *a: None
threading.Thread(target=s.serve_forever, daemon=True).start()
print(urllib.request.urlopen(f\"http://127.0.0.1:{s.server_port}/a\").read())"'
fi
