# What ordinary Python programs do. Each part prints one line that a test reads.
import sys


def square(number):
    return number * number


def put(queue):
    queue.put(sum(range(100)))


def append(items, number):
    items.append(number)


def double(name):
    from multiprocessing import shared_memory

    shared = shared_memory.SharedMemory(name=name)
    shared.buf[0] *= 2
    shared.close()


def processes(method):
    import multiprocessing
    from multiprocessing import shared_memory

    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        print("pool:", sum(pool.map(square, range(10))))
    queue = context.Queue()
    child = context.Process(target=put, args=(queue,))
    child.start()
    print("queue:", queue.get())
    child.join()
    with context.Manager() as manager:
        items = manager.list()
        children = [context.Process(target=append, args=(items, n)) for n in (1, 2)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        print("manager:", sorted(items))
    shared = shared_memory.SharedMemory(create=True, size=4096)
    shared.buf[0] = 21
    child = context.Process(target=double, args=(shared.name,))
    child.start()
    child.join()
    print("shared memory:", shared.buf[0])
    shared.close()
    shared.unlink()


def loops():
    import asyncio

    async def work():
        child = await asyncio.create_subprocess_exec(
            "/bin/cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await child.communicate(b"through cat")
        print("asyncio subprocess:", out.decode(), child.returncode)

        async def answer(reader, writer):
            line = await reader.readline()
            writer.write(line.upper())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"over loopback\n")
            print("asyncio server:", (await reader.readline()).decode().strip())
            writer.close()
        result = await asyncio.get_running_loop().run_in_executor(None, square, 12)
        print("asyncio executor:", result)
        await asyncio.wait_for(asyncio.sleep(0.01), 5)

    asyncio.run(work())


def children():
    import os
    import subprocess

    print("run:", subprocess.run(["/bin/echo", "a", "b"], capture_output=True, text=True).stdout.strip())
    print("pipeline:", subprocess.check_output("printf 'b\\na\\n' | sort | tr '\\n' ' '", shell=True, text=True).strip())
    child = subprocess.Popen(["sleep", "100"], start_new_session=True)
    child.terminate()
    print("terminated:", child.wait())
    try:
        subprocess.run(["sleep", "100"], timeout=0.05)
    except subprocess.TimeoutExpired:
        print("timeout: seen")
    spawned = os.posix_spawn("/bin/true", ["true"], {})
    print("posix_spawn:", os.waitstatus_to_exitcode(os.waitpid(spawned, 0)[1]))
    print("popen:", os.popen("echo popen").read().strip())
    read, write = os.openpty()
    print("pty:", os.isatty(write))


def threads():
    import concurrent.futures
    import threading

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        print("threads:", sum(pool.map(square, range(100))))
    lock, total = threading.Lock(), [0]

    def add():
        for _ in range(1000):
            with lock:
                total[0] += 1

    workers = [threading.Thread(target=add) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print("lock:", total[0])


def libraries():
    import gzip
    import hashlib
    import os
    import signal
    import sqlite3
    import tempfile
    import time
    import uuid

    folder = tempfile.mkdtemp()
    database = sqlite3.connect(os.path.join(folder, "data.db"))
    database.execute("pragma journal_mode=wal")
    database.execute("create table numbers (n)")
    database.executemany("insert into numbers values (?)", [(n,) for n in range(10)])
    database.commit()
    print("sqlite3:", database.execute("select sum(n) from numbers").fetchone()[0])
    database.close()

    path = os.path.join(folder, "zipped")
    with gzip.open(path, "wb") as out:
        out.write(b"x" * 100000)
    print("gzip:", len(gzip.open(path).read()))
    print("hash:", hashlib.sha256(b"belljar").hexdigest()[:8])
    print("uuid:", len(str(uuid.uuid4())))

    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    while not seen:
        time.sleep(0.01)
    print("signal:", seen[0])
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.kill(os.getpid(), signal.SIGUSR1)
    print("sigwait:", signal.sigtimedwait([signal.SIGUSR1], 60).si_signo == signal.SIGUSR1)


def sockets():
    import os
    import select
    import socket
    import tempfile

    one, two = socket.socketpair()
    one.sendall(b"pair")
    poll = select.epoll()
    poll.register(two, select.EPOLLIN)
    print("epoll:", len(poll.poll(5)), two.recv(4).decode())
    at = os.path.join(tempfile.mkdtemp(), "socket")
    server = socket.socket(socket.AF_UNIX)
    server.bind(at)
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(at)
    client.sendall(b"unix")
    print("unix socket:", server.accept()[0].recv(4).decode())
    data = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    data.bind(("127.0.0.1", 0))
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"datagram", data.getsockname())
    print("udp:", data.recv(100).decode())
    six = socket.create_server(("::1", 0), family=socket.AF_INET6)
    socket.create_connection(six.getsockname()[:2]).sendall(b"six")
    print("interfaces:", "lo" in [name for _, name in socket.if_nameindex()])
    print("resolve:", socket.getaddrinfo("127.0.0.1", 80, flags=socket.AI_ADDRCONFIG)[0][4][0])
    print("ipv6:", six.accept()[0].recv(3).decode())


def callbacks():
    # A callback is code that is made while it runs.
    import ctypes

    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    numbers = (ctypes.c_int * 5)(5, 1, 4, 2, 3)
    libc = ctypes.CDLL(None)
    libc.qsort(numbers, 5, ctypes.sizeof(ctypes.c_int), compare(lambda a, b: a[0] - b[0]))
    print("ctypes callback:", list(numbers))


def maps():
    import mmap

    with mmap.mmap(-1, 4096) as area:
        area.write(b"mapped")
        print("mmap:", area[:6].decode())


if __name__ == "__main__":
    for part in sys.argv[1:]:
        if part.startswith("processes-"):
            processes(part.removeprefix("processes-"))
        else:
            globals()[part]()
