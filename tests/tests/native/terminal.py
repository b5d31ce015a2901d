"""Talks to a shell at a pseudo-terminal, step by step; the transcript goes to standard output.

terminal.py inside|outside RGT... : an interactive bash under `RGT... --`, or `RGT... -- sleep` under one.
"""

import os
import pty
import select
import signal
import sys
import time

PROMPT = b"READY> "
LIMIT = 20
INTERRUPT, SUSPEND = b"\x03", b"\x1a"


class Terminal:
    def __init__(self, command):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["PS1"] = PROMPT.decode()
            os.environ["TERM"] = "dumb"
            os.environ.pop("PROMPT_COMMAND", None)
            os.execvp(command[0], command)

    def fail(self, why):
        print(f"\nFAILED: {why}", flush=True)
        os.kill(self.pid, signal.SIGKILL)
        sys.exit(1)

    def read(self, deadline):
        ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        try:
            got = os.read(self.fd, 4096)
        except OSError:
            got = b""
        sys.stdout.write(got.decode(errors="replace"))
        sys.stdout.flush()
        self.seen += got
        return got

    def expect(self, text):
        """Reads on until `text` has come; what is before it is consumed."""
        text = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + LIMIT
        while text not in self.seen:
            if not self.read(deadline):
                self.fail(f"waited for {text!r}, have {self.seen!r}")
        before, self.seen = self.seen.split(text, 1)
        return before

    def send(self, line):
        os.write(self.fd, line if isinstance(line, bytes) else line.encode() + b"\n")

    def command(self, line, answer):
        self.send(line)
        self.expect(answer)
        self.expect(PROMPT)

    def foreground(self, shell):
        """Waits until something else than the shell's own group has the terminal."""
        deadline = time.monotonic() + LIMIT
        while os.tcgetpgrp(self.fd) in (shell, 0):
            if time.monotonic() > deadline:
                self.fail("nothing took the foreground")
            time.sleep(0.02)
        # It may still be on its way to its execve.
        time.sleep(0.2)

    def end(self):
        deadline = time.monotonic() + LIMIT
        while self.read(deadline):
            pass
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        self.fail("it did not end")


def inside(rgt):
    term = Terminal([*rgt, "--", "bash", "--norc", "--noprofile", "-i"])
    term.expect(PROMPT)
    shell = os.tcgetpgrp(term.fd)
    term.command("sleep 100 &", "[1] ")
    term.command("jobs", "Running")
    term.send("fg")
    term.foreground(shell)
    term.send(INTERRUPT)
    term.expect(PROMPT)
    term.command('echo "status=$?"', "status=130\r\n")
    term.send("sleep 101")
    term.foreground(shell)
    term.send(SUSPEND)
    term.expect("Stopped")
    term.expect(PROMPT)
    term.command("jobs", "Stopped")
    term.command("bg", "sleep 101 &")
    term.command("jobs", "Running")
    term.command("kill %1; wait %1", "Terminated")
    term.command("test -t 0 && test -t 2 && echo a-$((40 + 2))", "a-42\r\n")
    term.send("exit 42")
    return term.end()


def outside(rgt):
    term = Terminal(["bash", "--norc", "--noprofile", "-i"])
    term.expect(PROMPT)
    shell = os.tcgetpgrp(term.fd)
    term.send(" ".join([*rgt, "--", "sh", "-c", "'echo here; sleep 100'"]))
    term.expect("\nhere")
    term.foreground(shell)
    term.send(SUSPEND)
    term.expect("Stopped")
    term.expect(PROMPT)
    term.command("jobs", "Stopped")
    term.send("fg")
    term.foreground(shell)
    term.send(INTERRUPT)
    term.expect(PROMPT)
    term.command('echo "status=$?"', "status=130\r\n")
    term.send("exit 42")
    return term.end()


if __name__ == "__main__":
    code = {"inside": inside, "outside": outside}[sys.argv[1]](sys.argv[2:])
    print(f"\nended with {code}")
    sys.exit(0 if code == 42 else 1)
