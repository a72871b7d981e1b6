/* A guest that makes calls which the supervisor has to answer.
 *
 *   flood denied|connect THREADS SECONDS    without a pause; tells how many calls were answered in a second
 *   flood denied|connect ask COUNT          one after another with pauses; tells what each took, in nanoseconds
 *
 * `denied` asks for a socket of a family that no jar has; `connect` connects to a socket of the guest's own.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static atomic_long answered;
static int by_connect, listening;
static struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/tmp/socket" };

static void *accept_all(void *unused) {
    for (;;) close(accept(listening, NULL, NULL));
    return unused;
}

static void call(void) {
    if (!by_connect) {
        if (socket(AF_ALG, SOCK_SEQPACKET, 0) >= 0) exit(3);
        return;
    }
    int one = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(one, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(3);
    }
    close(one);
}

static void *flood(void *unused) {
    for (;;) {
        call();
        atomic_fetch_add_explicit(&answered, 1, memory_order_relaxed);
    }
    return unused;
}

int main(int argc, char **argv) {
    pthread_t thread;
    if (argc != 4) return 2;
    by_connect = !strcmp(argv[1], "connect");
    if (by_connect) {
        listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 4096)) {
            perror("listen");
            return 1;
        }
        if (pthread_create(&thread, NULL, accept_all, NULL)) return 1;
    }
    if (!strcmp(argv[2], "ask")) {
        for (int i = 0; i < atoi(argv[3]); i++) {
            struct timespec from, to;
            usleep(5000);
            clock_gettime(CLOCK_MONOTONIC, &from);
            call();
            clock_gettime(CLOCK_MONOTONIC, &to);
            printf("%ld\n", (to.tv_sec - from.tv_sec) * 1000000000L + (to.tv_nsec - from.tv_nsec));
        }
        return 0;
    }
    for (int i = 0; i < atoi(argv[2]); i++)
        if (pthread_create(&thread, NULL, flood, NULL)) return 1;
    /* The first second is the burst's. */
    sleep(1);
    long before = answered;
    sleep((unsigned)atoi(argv[3]));
    printf("%.1f\n", (double)(answered - before) / atoi(argv[3]));
    fflush(stdout);
    _exit(0);
}
