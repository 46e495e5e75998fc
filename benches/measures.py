"""What is measured, and how: each function gives plain numbers, `report` puts them into words."""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time

from subjects import (
    ALL, Direct, Emailproxy, Haproxy, NoProxy, Postfix, Queue, Sink, Submitd, TOOLS, answers,
)

KB, MB = 1024, 1024 * 1024


class Row:
    """One measure: which load, on whom, and what of the result is looked at."""

    def __init__(self, name, subjects, load, value="rate", aim="", rest=None):
        self.name, self.subjects, self.value, self.aim = name, subjects, value, aim
        self.load, self.rest = [str(word) for word in load], rest or {}


PATHS = [NoProxy, Haproxy, Direct, Emailproxy]
DURABLE = [Postfix, Queue]
ROWS = [
    *[
        Row(f"reused connections, {n} clients", PATHS, ["--clients", n], aim="direct ≥ haproxy")
        for n in (1, 3, 20, 100)
    ],
    Row("a connection for each mail, 20 clients", PATHS, ["--clients", 20, "--one-shot"],
        aim="direct > no proxy"),
    Row("median of one mail, 1 client, µs", PATHS, ["--clients", 1], value="p50",
        aim="direct − no proxy < 150"),
    Row("durable, reused, 20 clients", DURABLE, ["--clients", 20], aim="queue ≥ 10 × Postfix"),
    Row("durable, a connection for each mail, 20 clients", DURABLE, ["--clients", 20, "--one-shot"],
        aim="queue ≥ 10 × Postfix"),
    Row("25 MB, 1 client, MB/s", PATHS, ["--clients", 1, "--size", 25 * MB], value="volume",
        aim="direct ≥ 0.8 × haproxy"),
    Row("25 MB, 20 clients, MB/s", PATHS, ["--clients", 20, "--size", 25 * MB], value="volume",
        aim="direct ≥ 0.8 × haproxy"),
    Row("25 MB durable, 1 client, MB/s", DURABLE, ["--clients", 1, "--size", 25 * MB],
        value="volume", aim="the disk's"),
    Row("CPU seconds for 1,000 mails, 20 clients", PATHS[:3], ["--clients", 20], value="cpu",
        aim="direct < haproxy + no proxy"),
]


def load(subject, sink, words, seconds):
    """One run of the load; what the sink got counts."""
    before, ours, theirs = sink.mark(), sink.cpu(), subject.process.cpu() if subject.process else 0.0
    times = os.times()
    command = [TOOLS, "load", *subject.how(), "--seconds", str(seconds), *words]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    mails = found["accepted"] + found["warm"] - found["failed"]
    delivered = settled(sink, before + mails) - before
    after = os.times()
    client = after.children_user + after.children_system - times.children_user - times.children_system
    cpu = client + sink.cpu() - ours
    if subject.process:
        cpu += subject.process.cpu() - theirs
    if isinstance(subject, (Queue, Postfix)):
        # What is taken now may be delivered later: the sink's clock counts.
        rate = (delivered - 1) / max(sink.seconds(), 0.001)
    else:
        rate = found["accepted"] / found["seconds"] if found["seconds"] else 0.0
    size = int(words[words.index("--size") + 1]) if "--size" in words else 10 * KB
    return {
        "rate": rate,
        "volume": rate * size / MB,
        "p50": found["us"]["p50"],
        "end": found["us"]["end"],
        "cpu": cpu / max(delivered, 1) * 1000,
        "failed": found["failed"],
        "lost": max(0, mails - delivered),
        "error": found["error"],
    }


def settled(sink, wanted):
    """What is at the sink once so many are there, or once nothing has come for five seconds."""
    seen = -1
    while seen < (seen := sink.wait(wanted, 5)) < wanted:
        pass
    return seen


def told(text):
    """What was just measured, for whoever watches."""
    print(text, file=sys.stderr, flush=True)


def flush(directory):
    """The disk's own time to make 10 KB durable: the median of 200 tries, seconds."""
    times = []
    with open(directory / "flush", "wb") as file:
        for _ in range(200):
            begin = time.monotonic()
            file.write(b"x" * 10 * KB)
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.monotonic() - begin)
    return statistics.median(times)


def table(directory, arguments):
    """Each row of each subject: the median of the rounds."""
    rows = [row for row in ROWS if not arguments.only or any(word in row.name for word in arguments.only)]
    sink = Sink(directory / "sink")
    found = {row.name: {} for row in rows}
    try:
        wanted = {subject for row in rows for subject in row.subjects}
        subjects = {kind: kind(sink, directory / kind.name.replace(" ", "-")) for kind in ALL if kind in wanted}
        try:
            for number in range(arguments.rounds):
                for row in rows:
                    # Each round begins with another one, so that none is always first.
                    turn = number % len(row.subjects)
                    for kind in row.subjects[turn:] + row.subjects[:turn]:
                        result = load(subjects[kind], sink, row.load, arguments.seconds)
                        found[row.name].setdefault(kind.name, []).append(result)
                        told(f"{number + 1}: {row.name}: {kind.name}: {result}")
        finally:
            for subject in subjects.values():
                subject.stop()
    finally:
        sink.stop()
    return {
        "rows": rows,
        "found": found,
        "single": {} if arguments.only else single(directory, arguments),
    }


def single(directory, arguments):
    """What has no rival to be measured against: our own aims."""
    found = {"disk's flush, ms": flush(directory) * 1000}
    sink = Sink(directory / "single-sink")
    try:
        found |= latency(directory, sink, arguments)
        found |= starting(directory, sink)
        found |= idling(directory, sink)
        found |= large(directory, sink)
        for mails in (1000, 10_000) if arguments.quick else (1000, 100_000):
            found |= full(directory / str(mails), sink, mails)
    finally:
        sink.stop()
    found |= distant(directory, arguments)
    return found


def latency(directory, sink, arguments):
    subject = Queue(sink, directory / "latency")
    result = load(subject, sink, ["--clients", "1"], arguments.seconds)
    subject.stop()
    return {"queue: from the body to its 250, median of 1 client, ms": result["end"] / 1000}


def starting(directory, sink):
    times = []
    for number in range(10):
        subject = Queue(sink, directory / f"start-{number}")
        times.append(subject.started)
        subject.stop()
    return {"start to listening, ms (median of 10)": statistics.median(times) * 1000}


def idling(directory, sink):
    subject = Direct(sink, directory / "idle")
    try:
        found = {"idle, MB": subject.process.status("VmRSS") / MB}
        for count in (1000, 5000):
            before = subject.process.status("VmRSS")
            command = [TOOLS, "idle", *subject.how(), "--clients", str(count)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            with subprocess.Popen(command, **pipes) as child:
                child.stdout.readline()
                each = (subject.process.status("VmRSS") - before) / count
                found[f"each of {count} idle clients, KB"] = each / KB
                child.stdin.close()
                child.stdout.read()
    finally:
        subject.stop()
    return found


def large(directory, sink):
    found = {}
    for kind in (Direct, Queue):
        subject = kind(sink, directory / f"large-{kind.mode}")
        words = ["--clients", "20", "--size", str(25 * MB), "--messages", "20"]
        load(subject, sink, words, 60)
        found[f"{kind.mode}: highest memory, 20 × 25 MB at once, MB"] = subject.process.status("VmHWM") / MB
        subject.stop()
    return found


class Silent(Queue):
    """Its account's server takes one connection and says nothing, so that all but one mail waits untried."""

    def start(self):
        self.upstream_socket = socket.create_server(("127.0.0.1", 0))
        super().start()

    def config(self):
        port = self.upstream_socket.getsockname()[1]
        text = super().config().replace(f"port = {self.sink.smtp}", f"port = {port}")
        return text.replace('connections = "unlimited"', "connections = 1")

    def stop(self):
        self.process.stop(signal.SIGKILL)
        self.upstream_socket.close()


def full(directory, sink, mails):
    """A start with so many mails queued, and the rate with which they go out."""
    place = directory / "full"
    subject = Silent(sink, place)
    words = ["--clients", "50", "--messages", str(mails)]
    command = [TOOLS, "load", *subject.how(), "--seconds", "600", *words]
    taken = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    subject.stop()
    before = sink.mark()
    subject = Queue(sink, place)
    queued = taken["accepted"] + taken["warm"]
    delivered = settled(sink, before + queued) - before
    rate = (delivered - 1) / max(sink.seconds(), 0.001)
    found = {
        f"{mails} queued: start to listening, ms": subject.started * 1000,
        f"{mails} queued: highest memory, MB": subject.process.status("VmHWM") / MB,
        f"{mails} queued: delivered/s": rate,
    }
    if delivered < queued:
        found[f"{mails} queued: not delivered"] = queued - delivered
    subject.stop()
    return found


class OneConnection(Queue):
    def config(self):
        return super().config().replace('connections = "unlimited"', "connections = 1")


def distant(directory, arguments):
    """One connection to a server that is 20 ms away and back."""
    sink = Sink(directory / "distant-sink", round_trip=20)
    try:
        subject = OneConnection(sink, directory / "distant")
        result = load(subject, sink, ["--clients", "20", "--messages", "100"], 60)
        subject.stop()
    finally:
        sink.stop()
    return {"20 ms round trip, one connection, mails/s": result["rate"]}


CURVES = {
    "clients": (["--clients"], [1, 2, 5, 10, 20, 50, 100, 200]),
    "size": (["--clients", "3", "--size"], [KB, 10 * KB, 100 * KB, 300 * KB, MB, 5 * MB, 25 * MB]),
    "recipients": (["--clients", "3", "--recipients"], [1, 10, 50, 100, 500]),
}


def curves(directory, arguments):
    """How cost grows: the milliseconds of one mail over what is made larger."""
    found = {}
    sink = Sink(directory / "curve-sink")
    try:
        subjects = [kind(sink, directory / f"curve-{kind.mode}") for kind in (Direct, Queue)]
        for name, (words, points) in CURVES.items():
            for point in points:
                for subject in subjects:
                    result = load(subject, sink, [*words, str(point)], arguments.seconds)
                    found.setdefault(name, {}).setdefault(subject.name, []).append((point, result["cpu"]))
        for subject in subjects:
            subject.stop()
        found["queued"] = {Queue.name: queued(directory, sink, arguments)}
        found["accounts"] = {Queue.name: accounts(directory, sink, arguments)}
    finally:
        sink.stop()
    return found


def queued(directory, sink, arguments):
    points = []
    for mails in (100, 1000, 10_000) if arguments.quick else (100, 1000, 10_000, 100_000):
        found = full(directory / f"queued-{mails}", sink, mails)
        rate = next(value for name, value in found.items() if name.endswith("delivered/s"))
        points.append((mails, 1000 / rate))
    return points


class Many(Queue):
    count = 1

    def config(self):
        begin, account = super().config().split("[[account]]")
        text = begin
        for number in range(self.count):
            text += "[[account]]" + account.replace('"erp"', f'"n{number}"').replace("erp@", f"n{number}@")
        return text


def accounts(directory, sink, arguments):
    points = []
    for count in (1, 10, 100, 1000) if arguments.quick else (1, 10, 100, 1000, 10_000):
        kind = type("Many", (Many,), {"count": count})
        subject = kind(sink, directory / f"accounts-{count}")
        words = ["--clients", "20", "--senders", str(count)]
        points.append((count, load(subject, sink, words, arguments.seconds)["cpu"]))
        subject.stop()
    return points


def instructions(directory, arguments):
    """Instructions of fixed work, counted by callgrind."""
    import instructions as counting
    return counting.count()
