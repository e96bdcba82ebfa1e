"""Addresses of an internet of our own, and traps at the near ones: nothing that strangers say may lead there."""

import socket
import threading

# Addresses of the internet, none of which is reachable from inside the namespace but there.
EVIL, SEEDER, LEECHER = "9.9.9.1", "9.9.9.2", "9.9.9.3"
NEAR = ["127.0.0.1", "10.99.0.1", "192.168.7.1", "172.16.3.1", "100.64.0.1", "169.254.169.254", "198.18.0.1"]
TRAP_PORT = 8000


class Trap:
    """Listens for connections and datagrams at every near address, and counts them."""

    def __init__(self, space):
        self.caught = []
        self.sockets = []
        for address in NEAR:
            stream = space.inside(socket.create_server, (address, TRAP_PORT))
            datagrams = space.inside(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
            datagrams.bind((address, TRAP_PORT))
            self.sockets += [stream, datagrams]
            threading.Thread(target=self._watch, args=(stream.accept, address), daemon=True).start()
            threading.Thread(target=self._watch, args=(lambda s=datagrams: s.recv(99), address), daemon=True).start()

    def _watch(self, wait, address):
        try:
            while True:
                self.caught.append((address, wait()))
        except OSError:
            pass

    def close(self):
        for each in self.sockets:
            each.close()
