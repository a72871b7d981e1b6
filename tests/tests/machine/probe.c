// Does one thing that only the virtual machine's kernel can do, and says so.
#include <linux/if_alg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int hash(void)
{
    struct sockaddr_alg name = { .salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256" };
    unsigned char sum[32];
    int bound = socket(AF_ALG, SOCK_SEQPACKET, 0);
    if (bound < 0 || bind(bound, (struct sockaddr *)&name, sizeof name) < 0)
        return -1;
    int hasher = accept(bound, NULL, NULL);
    if (hasher < 0 || write(hasher, "abc", 3) != 3 || read(hasher, sum, sizeof sum) != sizeof sum)
        return -1;
    for (size_t at = 0; at < sizeof sum; at++)
        printf("%02x", sum[at]);
    puts("");
    return 0;
}

static int key(void)
{
    return socket(AF_KEY, SOCK_RAW, 2) < 0 ? -1 : puts("a socket of keys");
}

static int vsock(void)
{
    return socket(AF_VSOCK, SOCK_STREAM, 0) < 0 ? -1 : puts("a socket between machines");
}

static int x32(void)
{
    long pid = syscall(0x40000000 | SYS_getpid);
    if (pid < 0)
        return -1;
    return puts(pid == getpid() ? "its own number" : "another number");
}

int main(int count, char **words)
{
    const char *what = count > 1 ? words[1] : "";
    int done = -1;
    if (!strcmp(what, "hash"))
        done = hash();
    else if (!strcmp(what, "key"))
        done = key();
    else if (!strcmp(what, "vsock"))
        done = vsock();
    else if (!strcmp(what, "x32"))
        done = x32();
    if (done < 0)
        perror(what);
    return done < 0;
}
