"""An operator with a terminal: a shell's part, and hands on its keyboard.

What belljar and its jar write goes to stdout; what is seen of belljar is a line
that begins with `seen:`.
"""
import os, pty, select, signal, sys, termios, time


def shell(command):
    """Runs belljar in the foreground. Once it has stopped it goes on when a line was
    typed: at once, or after a while in the background if that is `bg`."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    belljar = os.fork()
    if belljar == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(command[0], command)
    while True:
        _, status = os.waitpid(belljar, os.WUNTRACED)
        os.tcsetpgrp(0, os.getpid())
        if not os.WIFSTOPPED(status):
            print("seen: ended", os.waitstatus_to_exitcode(status), flush=True)
            return
        cooked = termios.tcgetattr(0)[3] & termios.ICANON
        print("seen: stopped", "cooked" if cooked else "raw", flush=True)
        if sys.stdin.readline() == "bg\n":
            os.kill(belljar, signal.SIGCONT)
            time.sleep(1)
        os.tcsetpgrp(0, belljar)
        os.kill(belljar, signal.SIGCONT)


def typist(terminal):
    """Types what its stdin says, and writes what comes."""
    said = b""
    while True:
        ready, _, _ = select.select([terminal, 0], [], [])
        if 0 in ready:
            typed = os.read(0, 100)
            if not typed:
                return
            os.write(terminal, typed)
        if terminal in ready:
            try:
                written = os.read(terminal, 65536)
            except OSError:
                return
            os.write(1, written)


child, terminal = pty.fork()
if child == 0:
    shell(sys.argv[1:])
else:
    typist(terminal)
