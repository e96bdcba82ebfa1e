"""Child processes of the benchmark: when they said what, what CPU they used, how much memory they had."""

import os
import subprocess
import threading
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
SAMPLE_SECS = 0.025


def cpu_seconds(pid):
    """User and system time of a process and its ended children so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(fields[index]) for index in (11, 12, 13, 14)) / TICK


class Child:
    """One measured process. Its lines of standard output carry the moment at which they came."""

    def __init__(self, name, argv, folder, env=None):
        self.name = name
        self.lines = []
        self.ended = threading.Event()
        self.ended_at = None
        self.status = None
        self.anonymous_peak = 0
        self.resident_peak = 0
        self.first_write_at = None
        self.cpu_total = 0.0
        self.log = Path(folder) / f"{name}.log"
        self.grown = threading.Condition()
        argv = [str(arg) for arg in argv]
        with open(self.log, "wb") as log:
            self.started_at = time.perf_counter()
            self.child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=env
            )
        self.pid = self.child.pid
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        threading.Thread(target=self._sample, daemon=True).start()
        threading.Thread(target=self._reap, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            now = time.perf_counter()
            with self.grown:
                self.lines.append((now, line.decode(errors="replace").rstrip()))
                self.grown.notify_all()

    def _reap(self):
        _, status, usage = os.wait4(self.pid, 0)
        self.ended_at = time.perf_counter()
        self.cpu_total = usage.ru_utime + usage.ru_stime
        self.status = os.waitstatus_to_exitcode(status)
        self.child.returncode = self.status
        # Not ru_maxrss: it begins with what this process had at the fork.
        self.ended.set()
        with self.grown:
            self.grown.notify_all()

    def _sample(self):
        while not self.ended.wait(SAMPLE_SECS):
            self.sample()

    def sample(self):
        """Reads memory and the first write from /proc."""
        try:
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    self.anonymous_peak = max(self.anonymous_peak, int(line.split()[1]) * 1024)
                elif line.startswith("VmHWM:"):
                    self.resident_peak = max(self.resident_peak, int(line.split()[1]) * 1024)
            if self.first_write_at is None:
                counters = Path(f"/proc/{self.pid}/io").read_text().split()
                if int(counters[3]) > 256 * 1024:
                    self.first_write_at = time.perf_counter()
        except (OSError, IndexError):
            return

    def cpu(self):
        """CPU seconds so far, or of its whole life once it has ended."""
        if self.ended.is_set():
            return self.cpu_total
        try:
            return cpu_seconds(self.pid)
        except (OSError, IndexError):
            self.ended.wait(5)
            return self.cpu_total

    def wait_line(self, match, timeout, what):
        """Waits for a line for which `match` holds; returns the moment and the line."""
        deadline = time.perf_counter() + timeout
        seen = 0
        with self.grown:
            while True:
                for moment, line in self.lines[seen:]:
                    if match(line):
                        return moment, line
                seen = len(self.lines)
                left = deadline - time.perf_counter()
                if left <= 0 or (self.ended.is_set() and not self.reader.is_alive()):
                    break
                self.grown.wait(min(left, 0.2))
        raise RuntimeError(f"{self.name}: no {what} (status {self.status})\n{self.tail()}")

    def wait_end(self, timeout):
        """Waits for the end and fails unless it went well."""
        if not self.ended.wait(timeout):
            self.kill()
            raise RuntimeError(f"{self.name} still ran after {timeout} s\n{self.tail()}")
        self.reader.join(5)
        if self.status != 0:
            raise RuntimeError(f"{self.name} ended with {self.status}\n{self.tail()}")

    def kill(self):
        """Ends it."""
        if not self.ended.is_set():
            try:
                os.kill(self.pid, 9)
            except ProcessLookupError:
                pass
            self.ended.wait(10)

    def tail(self):
        """The ends of its outputs."""
        errors = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([line for _, line in self.lines[-15:]] + errors)
