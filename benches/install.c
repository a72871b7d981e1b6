/* What installing filters of system calls takes: each file is a filter, installed in a child of its own, every one once
 * a round, who goes first changing with the round.
 *
 *   install ROUNDS FILE...    a line for each: the file's place in the list and nanoseconds
 *
 * `+FILE` is installed with its listener.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

enum { MOST = 65536, FILTERS = 64, WARM_UP = 3, NEW_LISTENER = 1 << 3, WAIT_KILLABLE = 1 << 5 };

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

static long install(const struct sock_fprog *program, long flags) {
    int answer[2];
    long took = -1;
    if (pipe(answer)) return -1;
    pid_t child = fork();
    if (!child) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        long before = now();
        long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
        took = result < 0 ? -1 : now() - before;
        /* Whatever the filter says, a write is allowed by all that are measured. */
        _exit(write(answer[1], &took, sizeof took) != sizeof took);
    }
    close(answer[1]);
    if (child < 0 || read(answer[0], &took, sizeof took) != sizeof took) took = -1;
    close(answer[0]);
    waitpid(child, NULL, 0);
    return took;
}

int main(int argc, char **argv) {
    static struct sock_fprog programs[FILTERS];
    static long flags[FILTERS];
    int count = argc - 2, rounds = argc > 2 ? atoi(argv[1]) : 0;
    if (count < 1 || count > FILTERS) return 2;
    for (int i = 0; i < count; i++) {
        const char *name = argv[2 + i];
        flags[i] = *name == '+' ? NEW_LISTENER | WAIT_KILLABLE : 0;
        FILE *file = fopen(name + (*name == '+'), "re");
        if (!file) return perror(name), 1;
        programs[i].filter = malloc(MOST * sizeof *programs[i].filter);
        programs[i].len = (unsigned short)fread(programs[i].filter, sizeof *programs[i].filter, MOST - 1, file);
        fclose(file);
    }
    for (int round = -WARM_UP; round < rounds; round++)
        for (int turn = 0; turn < count; turn++) {
            int which = (round + WARM_UP + turn) % count;
            long took = install(&programs[which], flags[which]);
            if (took < 0) return fprintf(stderr, "%s cannot be installed\n", argv[2 + which]), 1;
            if (round >= 0) printf("%d %ld\n", which, took);
        }
    return 0;
}
