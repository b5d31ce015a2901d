#!/usr/bin/env python3
"""Reads signed records from Kafka, verifies each, drops duplicates; needs `pip install confluent-kafka`.

usage: consumer.py BROKERS TOPIC KEYFILE [SECONDS]
KEYFILE: as seal.key_file names it. Ends when nothing has come for SECONDS; without it, never."""
import hashlib, hmac, json, sys
from confluent_kafka import Consumer

brokers, topic, keyfile = sys.argv[1:4]
patience = float(sys.argv[4]) if len(sys.argv) > 4 else -1
key = bytes.fromhex(open(keyfile).read().strip())
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "rgt-example", "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
seen, twice, bad = set(), 0, 0
while message := consumer.poll(patience):
    if message.error():
        print("kafka:", message.error(), file=sys.stderr)
        continue
    r = json.loads(message.value())
    data = json.dumps(r["data"], sort_keys=True, separators=(",", ":"))
    signed = "\n".join((r["type"], r["source"], r["time"], r["id"], data)).encode()
    genuine = hmac.compare_digest(hmac.new(key, signed, hashlib.sha256).hexdigest(), r["signature"])
    record = (r["data"]["chain"]["id"], r["data"]["chain"]["seq"])
    bad += not genuine
    twice += record in seen
    if genuine and record not in seen:
        seen.add(record)
        print(*record, r["time"], r["type"], (message.key() or b"").decode(), r.get("subject", "-"))
print(f"{len(seen)} records, {twice} duplicates, {bad} not genuine", file=sys.stderr)
sys.exit(1 if bad else 0)
