"""Child processes that are watched, never leaked, and ended by their own id."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path


class Timeout(AssertionError):
    """A condition did not come true in time."""


def wait_for(condition, timeout, what, alive=None):
    """Polls `condition` until it is truthy and returns its value; fails after `timeout` seconds.

    `alive`, when given, is a process that must go on running meanwhile.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if alive is not None and not alive.running():
            value = condition()
            if value:
                return value
            raise AssertionError(f"{alive.name} ended with {alive.returncode} while waiting for {what}\n{alive.tail()}")
        if time.monotonic() > deadline:
            log = f"\n{alive.tail()}" if alive is not None else ""
            raise Timeout(f"no {what} within {timeout} s{log}")
        time.sleep(0.02)


class Process:
    """One child: its standard output is read line by line, its standard error goes to a file."""

    def __init__(self, name, argv, logs, env=None, cwd=None, namespace=None):
        self.name = name
        self.lines = []
        self.log = Path(logs) / f"{name}.log"
        self.out = Path(logs) / f"{name}.out"
        if namespace is not None:
            # `ip netns exec` becomes the command, so the process id stays that of the command.
            argv = ["ip", "netns", "exec", namespace, *argv]
        self.argv = [str(arg) for arg in argv]
        with open(self.log, "ab") as log:
            log.write(f"$ {' '.join(self.argv)}\n".encode())
            self.child = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=env, cwd=cwd
            )
        self.started = time.monotonic()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with open(self.out, "ab") as copy:
            for line in self.child.stdout:
                copy.write(line)
                copy.flush()
                self.lines.append(line.decode(errors="replace").rstrip("\n"))

    @property
    def pid(self):
        """The process id."""
        return self.child.pid

    @property
    def returncode(self):
        """The exit status, negative for a signal; none while it runs."""
        return self.child.poll()

    def running(self):
        """Whether it has not ended yet."""
        return self.child.poll() is None

    def stderr(self):
        """All of its standard error so far."""
        return self.log.read_text(errors="replace")

    def tail(self, lines=25):
        """The ends of its two outputs, for a failure message."""
        errors = "\n".join(self.stderr().splitlines()[-lines:])
        output = "\n".join(self.lines[-lines:])
        return f"--- {self.name} standard error\n{errors}\n--- {self.name} standard output\n{output}"

    def wait(self, timeout):
        """Waits for the end and returns the exit status."""
        try:
            status = self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.name} still runs after {timeout} s\n{self.tail()}") from None
        self.reader.join(5)
        return status

    def signal(self, number):
        """Sends a signal, if it still runs."""
        if self.running():
            os.kill(self.pid, number)

    def kill(self):
        """Ends it without any chance to clean up."""
        self.signal(signal.SIGKILL)
        self.child.wait(10)
        self.reader.join(5)

    def close(self):
        """The same, in the word of other things that tests clean up."""
        self.kill()

    def stop(self, timeout=15):
        """Ends it in good order and returns the exit status; kills it when it takes too long."""
        self.signal(signal.SIGTERM)
        try:
            self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Timeout(f"{self.name} did not end within {timeout} s of SIGTERM\n{self.tail()}") from None
        self.reader.join(5)
        return self.child.returncode

    def objects(self):
        """The JSON objects among its output lines."""
        found = []
        for line in list(self.lines):
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
        return found

    def io(self):
        """The kernel's counters of this process: rchar, wchar, read_bytes, write_bytes and so on."""
        text = Path(f"/proc/{self.pid}/io").read_text()
        return {key: int(value) for key, value in (line.split(": ") for line in text.splitlines())}

    def memory_peak_kib(self):
        """The peak of its resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        return 0
