/* What a system call takes, in nanoseconds: getpid, openat with close, and read, each in a loop, by the median batch.
 * A batch takes half a millisecond, however slow calls are here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BATCHES = 41, KINDS = 3 };

static int zero;
static void ask(void) { syscall(SYS_getpid); }
static void opened(void) { close((int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC)); }
static void take(void) {
    char byte;
    if (read(zero, &byte, 1) != 1) exit(1);
}

static struct { const char *name; void (*call)(void); int times; } kinds[KINDS] = {
    { "getpid", ask, 20 }, { "openat", opened, 20 }, { "read", take, 20 },
};

/* Nanoseconds a call. */
static double batch(int kind) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < kinds[kind].times; i++) kinds[kind].call();
    clock_gettime(CLOCK_MONOTONIC, &to);
    double nanoseconds = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    return nanoseconds / kinds[kind].times;
}

static int longer(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void) {
    static double took[KINDS][BATCHES];
    zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    if (zero < 0) return 1;
    for (int kind = 0; kind < KINDS; kind++) kinds[kind].times = 1 + (int)(500000 / batch(kind));
    /* All in turn, so that a noisy moment hits each alike. */
    for (int at = 0; at < BATCHES; at++)
        for (int kind = 0; kind < KINDS; kind++) took[kind][at] = batch(kind);
    for (int kind = 0; kind < KINDS; kind++) {
        qsort(took[kind], BATCHES, sizeof **took, longer);
        printf("%s %.1f\n", kinds[kind].name, took[kind][BATCHES / 2]);
    }
    return 0;
}
