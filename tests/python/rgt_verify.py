#!/usr/bin/env python3
"""Checks an RGT ledger without any of rgt's code: bytes, signature, chain, trajectory, risk.

    rgt_verify.py --key-file KEY [--utf8] LEDGER_DIR | SEGMENT...

Exits 0 when every record is what it should be; otherwise it says the first difference and exits 1.
Needs nothing but Python 3 (and the `zstd` command for compressed segments).
"""

import argparse, glob, hashlib, hmac, json, os, re, subprocess, sys
from datetime import datetime, timezone

PLAIN = {c for c in range(0x20, 0x7F)} - set(b'%"\\<>&')
MAX_INTEGER = 2**53 - 1
MAX_OBJECT = 256


class Difference(Exception):
    """Something is not what it should be."""


def encode(raw):
    """The canonical form of a byte string."""
    return "".join(chr(b) if b in PLAIN else "%%%02X" % b for b in raw)


def decode(text):
    """The byte string that a canonical string stands for."""
    return re.sub(rb"%([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), text.encode("ascii"))


def canonical(value):
    """The canonical bytes of a parsed value, as text."""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise Difference(f"the integer {value} is too large to be written as a number")
        return str(value)
    if isinstance(value, str):
        if encode(decode(value)) != value:
            raise Difference(f"the string {value!r} is not canonical")
        return '"' + value + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(canonical(k) + ":" + canonical(value[k]) for k in sorted(value)) + "}"
    raise Difference(f"{value!r} has no canonical form")


def same(what, found, expected):
    if found != expected:
        raise Difference(f"{what} is {found!r}, it should be {expected!r}")


def nanoseconds(text):
    """An RFC 3339 time as nanoseconds since 1970."""
    moment = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * 10**9 + int(text[20:29])


def entry(data):
    """What later trajectories show of an attempt."""
    action = data["action_attempted"]
    out = {"ts": data["timestamp"], "verb": action["verb"], "verdict": data["policy_verdict"],
           "rule": data["policy_rule_id"]}
    if "result" in action:
        out["result"] = action["result"]
    name = action.get("object", action.get("argument"))
    if name is not None:
        raw = decode(name)
        out["object"] = encode(raw[:MAX_OBJECT])
        if len(raw) > MAX_OBJECT:
            out["truncated"] = True
    return out


class Run:
    """One run's trajectory and risk, from its start or from where the ledger at hand begins."""

    def __init__(self, actions=0, score=50, trajectory=()):
        self.length = None  # trajectory.length; known once a trajectory shows less than all
        self.actions, self.score = actions, score
        self.last = None
        self.trajectory = list(trajectory)

    def check(self, data):
        factors = data["risk_factors"]
        same("risk profile", (factors["profile"], factors["base"]), ("article", 50))
        now = nanoseconds(data["timestamp"])
        if self.last is None and self.actions > 0:
            rapid = factors["rapid"]  # its predecessor is in a segment that is not at hand
        else:
            rapid = self.actions > 5 and now - self.last < 100_000_000
        same("risk_factors.rapid", factors["rapid"], rapid)
        same("risk_factors.actions", factors["actions"], self.actions)
        same("risk_factors.previous", factors["previous"], self.score)
        same("risk_factors.delta", factors["delta"], 10 if rapid else -2)
        self.score = min(100, self.score + 10) if rapid else max(0, self.score - 2)
        self.score = min(100, max(0, self.score + factors.get("added", 0)))
        same("live_risk_score", data["live_risk_score"], self.score)
        if self.length is None and len(data["behavioral_trajectory"]) < self.actions:
            self.length = len(data["behavioral_trajectory"])
        length = self.actions if self.length is None else self.length
        shown = self.trajectory[-length:] if length else []
        same("behavioral_trajectory", data["behavioral_trajectory"], shown)
        same("trajectory_truncated", data.get("trajectory_truncated", False), any("truncated" in e for e in shown))
        self.last, self.actions = now, self.actions + 1
        self.trajectory = (self.trajectory + [entry(data)])[-64:]


class Ledger:
    def __init__(self, key):
        self.key = key
        self.key_id = hashlib.sha256(b"rgt key id\n" + key).hexdigest()[:16]
        self.prev = self.chain = None
        self.next = 0
        self.runs, self.waiting = {}, {}
        self.records = 0

    def line(self, line):
        event = json.loads(line)
        data = event["data"]
        text = canonical(data)
        chain = data["chain"]
        # The whole line, from its signed parts alone.
        category = re.search(r"[a-z]+\.[a-z]+$", event["type"])[0]
        action = data.get("action_attempted", {})
        rebuilt = (
            '{"specversion":"1.0","type":"%s","source":"%s","id":"%s-%d","time":"%s","subject":"%s",'
            '"dataschema":"urn:rgt:schema:%s:1","data":%s,"signature":"%s"}'
            % (event["type"], event["source"], chain["id"], chain["seq"], event["time"],
               action.get("verb", data.get("kind")), category, text, event["signature"])
        )
        same("line", line.decode("ascii"), rebuilt)
        signed = "\n".join([event["type"], event["source"], event["time"], event["id"], text])
        same("key_id", chain["key_id"], self.key_id)
        same("signature", event["signature"], hmac.new(self.key, signed.encode(), hashlib.sha256).hexdigest())
        if self.chain is None:
            self.chain, self.next = chain["id"], chain["seq"]
            self.prev = "0" * 64 if self.next == 0 else chain["prev"]
        same("chain", (chain["id"], chain["seq"], chain["prev"]), (self.chain, self.next, self.prev))
        self.prev, self.next = hashlib.sha256(line).hexdigest(), self.next + 1
        self.records += 1
        if category == "sandbox.event" and data["kind"] in ("start", "adopt"):
            # With these it began in another ledger.
            before = [data[key] for key in ("actions", "live_risk_score", "behavioral_trajectory") if "actions" in data]
            self.runs[data["run_id"]] = Run(*before)
        if "outcome_of" in data:
            self.outcome(data)
        elif action:
            if data["run_id"] not in self.runs:
                factors = data["risk_factors"]
                before = (factors["actions"], factors["previous"], data["behavioral_trajectory"])
                self.runs[data["run_id"]] = Run(*before) if self.records != self.next else Run()
            self.runs[data["run_id"]].check(data)
            if "result" not in action and "end" not in data:
                self.waiting[event["id"]] = data

    def outcome(self, data):
        """The attempt again, with its result; trajectory and risk as its first record shows them."""
        first = self.waiting.pop(data["outcome_of"], None)
        if first is None and self.records == self.next:  # the ledger is here from its start
            raise Difference(f"outcome of {data['outcome_of']}, which awaits none")
        first = first or data
        for key in ("behavioral_trajectory", "live_risk_score", "risk_factors", "run_id", "timestamp"):
            same(f"outcome's {key}", data[key], first[key])


def lines(path):
    if path.endswith(".zst"):
        text = subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout
    else:
        with open(path, "rb") as file:
            text = file.read()
    if text and not text.endswith(b"\n"):
        raise Difference("the last line does not end")
    return text.split(b"\n")[:-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key-file", required=True)
    parser.add_argument("--utf8", action="store_true", help="the file's text is the key (seal.key_encoding=utf8)")
    parser.add_argument("paths", nargs="+")
    args = parser.parse_args()
    with open(args.key_file) as file:
        text = file.read().rstrip("\r\n")
    ledger = Ledger(text.encode() if args.utf8 else bytes.fromhex(text))
    paths = args.paths
    if os.path.isdir(paths[0]):
        paths = sorted(sum((glob.glob(os.path.join(paths[0], "rgt-*" + end)) for end in (".jsonl", ".jsonl.zst")), []))
    for path in paths:
        number = 0
        try:
            for number, line in enumerate(lines(path), 1):
                ledger.line(line)
        except (Difference, KeyError, ValueError, TypeError) as difference:
            sys.exit(f"{path}:{number}: {type(difference).__name__}: {difference}")
    print(f"{ledger.records} records agree: bytes, signature, chain, trajectory and risk")


if __name__ == "__main__":
    main()
