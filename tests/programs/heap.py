# Records in a dict, lists and strings; idle, walked, changed, and again; a child process that sees them, too.
# Idle is, with $PAUSE, until a quarter of its memory has left.
import hashlib
import os
import time

NR = int(os.environ.get("RECORDS", 40000))
records = {i: {"name": "customer %d" % (i * 7919 % NR), "orders": [i, i * 2, str(i) * 3]} for i in range(NR)}


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1])


def pause():
    enough, end = resident() * 3 // 4, time.monotonic() + 20
    while "PAUSE" in os.environ and resident() > enough and time.monotonic() < end:
        time.sleep(0.05)


def digest():
    h = hashlib.sha256()
    for i in range(NR):
        h.update(repr(records[i]).encode())
    return h.hexdigest()


for turn in range(4):
    print(turn, digest(), flush=True)
    pause()
    for i in range(turn, NR, 7):
        records[i]["orders"].append(turn)
pid = os.fork()
if pid == 0:
    print("child", digest(), flush=True)
    os._exit(3)
print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print("parent", digest())
