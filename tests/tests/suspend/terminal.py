"""An operator with a terminal: a shell's part, and hands on its keyboard.

What belljar and its jar write goes to stdout; what is seen of belljar is a line
that begins with `seen:`.
"""
import os, pty, select, signal, sys, termios, time


def shell(command):
    """Starts belljar, and has it go on once it has stopped and a line was typed."""
    belljar = os.fork()
    if belljar == 0:
        os.execv(command[0], command)
    # Keys are sent to the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    while True:
        _, status = os.waitpid(belljar, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            print("seen: ended", os.waitstatus_to_exitcode(status), flush=True)
            return
        cooked = termios.tcgetattr(0)[3] & termios.ICANON
        print("seen: stopped", "cooked" if cooked else "raw", flush=True)
        sys.stdin.readline()
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
