"""An HTTP client that costs little: one thread, one epoll, connections that are kept and used again as a gateway does, the
bytes of the requests made beforehand.

On two cores a client that needs a tenth of one for itself takes a tenth of the server's speed, and then an overload test
measures the client. What the client used is part of its result."""
import errno
import itertools
import select
import socket
import time


class Answer:
    """One request from its arrival to its last byte; status 0 = no complete answer."""
    __slots__ = ("at", "seconds", "status", "retry_after")

    def __init__(self, at):
        self.at, self.seconds, self.status, self.retry_after = at, 0.0, 0, None


class Client:
    def __init__(self, port):
        self.port = port
        self.poll = select.epoll()
        self.open = {}  # descriptor: (socket, bytes so far, answer)
        self.unsent = {}  # descriptor: request of a connection that is being made
        self.idle = []  # sockets that are connected and owed nothing
        self.began = time.monotonic()

    def now(self):
        return time.monotonic() - self.began

    def send(self, request, at=None):
        """A request that arrived at a time, or now."""
        answer = Answer(self.now() if at is None else at)
        one = self.idle.pop() if self.idle else None
        try:
            if one is not None:
                one.send(request)  # far below the size of the buffer
            else:
                one = self._connect(request)
        except OSError:
            answer.seconds = self.now() - answer.at
            if one is not None:
                one.close()
            return answer
        self.open[one.fileno()] = (one, b"", answer)
        return answer

    def _connect(self, request):
        """Never waits: a server whose backlog is full leaves a connection half made for seconds, and the others go on."""
        one = socket.socket()
        one.setblocking(False)
        failed = one.connect_ex(("127.0.0.1", self.port))
        if failed not in (0, errno.EINPROGRESS):
            one.close()
            raise OSError(failed, "connect")
        self.unsent[one.fileno()] = request
        self.poll.register(one.fileno(), select.EPOLLIN | select.EPOLLOUT)
        return one

    def _begin(self, descriptor):
        """A connection is made, or has failed; its request leaves."""
        self.poll.modify(descriptor, select.EPOLLIN)
        try:
            self.open[descriptor][0].send(self.unsent.pop(descriptor))
        except OSError:
            return self._end(descriptor, False)
        return None

    def _end(self, descriptor, keep):
        one, _, answer = self.open.pop(descriptor)
        self.unsent.pop(descriptor, None)
        if keep:
            self.idle.append(one)
        else:
            one.close()
        answer.seconds = self.now() - answer.at
        return answer

    def _read(self, descriptor):
        """The answer when this was its last byte, or None."""
        if descriptor not in self.open:  # the server ends an idle connection
            self.poll.unregister(descriptor)
            self.idle = [one for one in self.idle if one.fileno() != descriptor or one.close()]
            return None
        one, got, answer = self.open[descriptor]
        try:
            part = one.recv(65536)
        except OSError:
            part = b""
        got += part
        head_end = got.find(b"\r\n\r\n")
        if head_end >= 0:
            head = got[:head_end].lower()
            length = head.find(b"content-length: ")
            n_body = int(head[length + 16:].split(b"\r\n", 1)[0]) if length >= 0 else 0
            if len(got) >= head_end + 4 + n_body:
                answer.status = int(head[9:12])
                retry = head.find(b"\r\nretry-after: ")
                answer.retry_after = head[retry + 15:].split(b"\r\n", 1)[0].decode() if retry >= 0 else None
                return self._end(descriptor, b"\r\nconnection: close" not in head)
        self.open[descriptor] = (one, got, answer)
        return self._end(descriptor, False) if not part else None

    def wait(self, seconds):
        """Answers that ended within so many seconds of waiting for one."""
        ready = self.poll.poll(max(0.0, seconds))
        ended = [self._begin(descriptor) if descriptor in self.unsent else self._read(descriptor) for descriptor, _ in ready]
        return [answer for answer in ended if answer is not None]

    def give_up(self):
        """Lets go of what is still open; its answers have status 0."""
        for descriptor in list(self.open):
            self._end(descriptor, False)


def closed_loop(port, requests, n_clients, seconds):
    """(answers, CPU seconds of this process): so many clients that each ask again when they have their answer."""
    client, answers, cpu = Client(port), [], time.process_time()
    todo = itertools.cycle(requests)
    for _ in range(n_clients):
        client.send(next(todo))
    while client.now() < seconds:
        for answer in client.wait(min(0.05, seconds - client.now())):
            answers.append(answer)
            client.send(next(todo))
        while len(client.open) < n_clients and client.now() < seconds:  # who could not connect tries again
            client.send(next(todo))
            time.sleep(0.001)
    client.give_up()
    return answers, time.process_time() - cpu


def open_loop(port, arrivals, seconds, patience_s):
    """(answers, CPU seconds of this process): requests at their times, (s, bytes) each, whether others are answered or not;
    so long after the last one the rest is given up."""
    client, answers, cpu = Client(port), [], time.process_time()
    next_one = 0
    while client.now() < seconds + patience_s and (next_one < len(arrivals) or client.open):
        while next_one < len(arrivals) and arrivals[next_one][0] <= client.now():
            at, request = arrivals[next_one]
            answers.append(client.send(request, at))
            next_one += 1
        client.wait(min(0.05, arrivals[next_one][0] - client.now()) if next_one < len(arrivals) else 0.05)
    client.give_up()
    return answers, time.process_time() - cpu
