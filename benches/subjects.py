"""What is measured: each subject starts itself in a directory of its own and says where it listens.

None of them may listen on anything but loopback. Limits are off everywhere: connections and rates are
unlimited, since a provider's limits would be all that is seen.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "benches/tools/target/release/submitd-benches"
EMAILPROXY = ROOT / "target/bench-tools/bin/emailproxy"
MAILBOX = "erp@contoso.com"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port, since, patience=30.0):
    """Waits for an SMTP greeting; the seconds since `since`."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as talk:
                if talk.recv(3) == b"220":
                    return time.monotonic() - since
        except OSError:
            time.sleep(0.001)
    raise SystemExit(f"nothing answers on port {port}")


class Process:
    """A program with its children, in a session of its own."""

    def __init__(self, command, log, **more):
        self.log = log
        self.begin = time.monotonic()
        self.child = subprocess.Popen(
            command, stdout=log.open("ab"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True, **more,
        )

    def stats(self):
        """The fields of /proc/PID/stat behind the name, of it and all that came from it, with the PID."""
        everyone = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                everyone[int(entry.name)] = fields
        family = {self.child.pid} & everyone.keys()
        while grown := {pid for pid, fields in everyone.items() if int(fields[1]) in family} - family:
            family |= grown
        return [(pid, everyone[pid]) for pid in family]

    def cpu(self):
        """Seconds of processor time, of children that have ended too."""
        return sum(sum(map(int, fields[11:15])) for _, fields in self.stats()) / TICKS

    def resident(self):
        """Bytes of memory in use now; pages shared between processes are divided among them."""
        total = 0
        for pid, _ in self.stats():
            try:
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
            except OSError:
                pass
        return total

    def status(self, key):
        """VmRSS or VmHWM of the program itself, bytes."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
        return 0

    def forget_peak(self):
        Path(f"/proc/{self.child.pid}/clear_refs").write_text("5")

    def stop(self, how=signal.SIGTERM):
        family = self.stats()
        if self.child.poll() is None:
            self.child.send_signal(how)
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        for pid, _ in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Sink:
    """The upstream of all of them."""

    def __init__(self, directory, round_trip=0, offer=None):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        command = [TOOLS, "sink", "--dir", directory, "--round-trip", str(round_trip)]
        if offer:
            command += ["--offer", offer]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        ports = json.loads(self.child.stdout.readline())
        self.smtp, self.http = ports["smtp"], ports["http"]
        self.authority = directory / "ca.pem"

    def ask(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/{path}", timeout=700) as answer:
            return json.load(answer)

    def count(self):
        return self.ask("count")["messages"]

    def mark(self):
        """Forgets when messages came; gives how many there were."""
        return self.ask("mark")["messages"]

    def seconds(self):
        """From the first message since the mark to the last one."""
        return self.ask("count")["seconds"]

    def wait(self, messages, seconds=300):
        return self.ask(f"wait?messages={messages}&seconds={seconds}")["messages"]

    def cpu(self):
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / TICKS

    def stop(self):
        self.child.kill()
        self.child.wait()


class Subject:
    """One way from the clients to the sink."""

    process = None

    def __init__(self, sink, directory):
        self.sink, self.directory = sink, directory
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / "log"
        self.port = free_port()
        self.start()

    def start(self):
        raise NotImplementedError

    def how(self):
        """What the load is told of it."""
        return ["--to", f"127.0.0.1:{self.port}"]

    def stop(self):
        if self.process:
            self.process.stop()


class Speaking(Subject):
    """Those that need a client which speaks STARTTLS and XOAUTH2 itself."""

    def how(self):
        return super().how() + ["--tls", self.sink.authority]


class NoProxy(Speaking):
    name = "no proxy"

    def start(self):
        self.port = self.sink.smtp


class Haproxy(Speaking):
    name = "haproxy"

    def start(self):
        config = self.directory / "haproxy.cfg"
        config.write_text(
            "global\n maxconn 8000\n nbthread 2\ndefaults\n mode tcp\n timeout connect 5s\n"
            " timeout client 10m\n timeout server 10m\n"
            f"listen smtp\n bind 127.0.0.1:{self.port}\n server sink 127.0.0.1:{self.sink.smtp}\n"
        )
        self.process = Process(["haproxy", "-db", "-f", config], self.log)
        self.started = answers(self.port, self.process.begin)


class Submitd(Subject):
    mode = "queue"
    more = ""
    listener = "max_connections = 20000"
    upstream = ""

    def config(self):
        return (
            f'state_dir = "{self.directory}/state"\nhostname = "relay.test"\n{self.more}\n'
            f'[log]\nlevel = "warn"\n'
            f'[[listener]]\naddress = "127.0.0.1:{self.port}"\nmode = "{self.mode}"\n'
            f'{self.listener}\n'
            f'[[account]]\nname = "erp"\nmailbox = "{MAILBOX}"\ngrant = "client_credentials"\n'
            f'tenant = "contoso.onmicrosoft.com"\nclient_id = "0f8fad5b-d9cb-469f-a165-70867728950e"\n'
            f'client_secret = "~secret-of-the-benches-123456789"\n'
            f'[account.upstream]\nhost = "localhost"\nport = {self.sink.smtp}\n'
            f'ca_file = "{self.sink.authority}"\nconnections = "unlimited"\n'
            f'messages_per_minute = "unlimited"\nrecipients_per_day = "unlimited"\n{self.upstream}\n'
            f'[account.oauth]\ntoken_url = "http://127.0.0.1:{self.sink.http}/token"\n'
        )

    def start(self):
        config = self.directory / "submitd.toml"
        config.write_text(self.config())
        config.chmod(0o600)
        binary = os.environ.get("TESTED_SUBMITD", ROOT / "target/release/submitd")
        self.process = Process([binary, "run", "--config", config], self.log)
        self.started = answers(self.port, self.process.begin)


class Direct(Submitd):
    name = "submitd direct"
    mode = "direct"


class Queue(Submitd):
    name = "submitd queue"


class Emailproxy(Subject):
    name = "email-oauth2-proxy"

    def start(self):
        config = self.directory / "emailproxy.config"
        config.write_text(
            f"[SMTP-{self.port}]\nlocal_address = 127.0.0.1\nserver_address = localhost\n"
            f"server_port = {self.sink.smtp}\nserver_starttls = True\n"
            f"[{MAILBOX}]\ntoken_url = http://127.0.0.1:{self.sink.http}/token\n"
            "oauth2_scope = https://outlook.office365.com/.default\noauth2_flow = client_credentials\n"
            "client_id = bench\nclient_secret = bench\nredirect_uri = http://localhost\n"
        )
        self.process = Process(
            [EMAILPROXY, "--no-gui", "--config-file", config, "--cache-store", self.directory / "cache"],
            self.log, cwd=self.directory, env=os.environ | {"SSL_CERT_FILE": str(self.sink.authority)},
        )
        self.started = answers(self.port, self.process.begin)

    def how(self):
        import base64
        word = base64.b64encode(f"\0{MAILBOX}\0bench".encode()).decode()
        return super().how() + ["--plain", word]


class Postfix(Subject):
    """Durable like our queue, and a relay to the same sink. Its own limits are opened wide."""

    name = "Postfix"

    def start(self):
        at = self.directory
        at.chmod(0o755)
        for name, owner in (("spool", None), ("data", "postfix")):
            (at / name).mkdir(exist_ok=True)
            if owner:
                shutil.chown(at / name, owner)
        (at / "main.cf").write_text(
            f"""compatibility_level = 3.6
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
meta_directory = /etc/postfix
sendmail_path = /usr/sbin/sendmail
newaliases_path = /usr/bin/newaliases
mailq_path = /usr/bin/mailq
queue_directory = {at}/spool
data_directory = {at}/data
maillog_file = {at}/log.postfix
maillog_file_prefixes = {at}
myhostname = old.contoso.com
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
message_size_limit = 52428800
mailbox_size_limit = 0
default_process_limit = 100
relayhost = [localhost]:{self.sink.smtp}
smtp_host_lookup = native
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = static:erp:bench
smtp_sasl_security_options = noanonymous
smtp_sasl_tls_security_options = noanonymous
smtp_sasl_mechanism_filter = plain
smtp_tls_security_level = encrypt
smtp_tls_connection_reuse = yes
smtp_tls_CAfile = {self.sink.authority}
smtp_connection_cache_on_demand = yes
smtp_connection_cache_destinations = static:all
smtp_destination_concurrency_limit = 100
initial_destination_concurrency = 20
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_recipient_restrictions = permit_mynetworks,reject
"""
        )
        (at / "master.cf").write_text(
            f"""127.0.0.1:{self.port} inet n - n - 200 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
scache unix - - n - 1 scache
showq unix n - n - - showq
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""
        )
        self.process = Process(["postfix", "-c", at, "start-fg"], self.log)
        self.started = answers(self.port, self.process.begin)

    def stop(self):
        subprocess.run(["postfix", "-c", self.directory, "stop"], capture_output=True, check=False)
        super().stop()


ALL = [NoProxy, Haproxy, Direct, Queue, Postfix, Emailproxy]
