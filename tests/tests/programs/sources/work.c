/* What ordinary C programs do. Each part prints one line that a test reads. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define must(call)                                                    \
    do {                                                              \
        if (!(call)) {                                                \
            fprintf(stderr, "%s: %s\n", #call, strerror(errno));      \
            exit(1);                                                  \
        }                                                             \
    } while (0)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long total;

static void *add(void *unused)
{
    for (int n = 0; n < 10000; n++) {
        pthread_mutex_lock(&mutex);
        total++;
        pthread_mutex_unlock(&mutex);
    }
    return unused;
}

static void threads(void)
{
    pthread_t tasks[8];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    for (int n = 0; n < 8; n++)
        must(pthread_create(&tasks[n], &attributes, add, NULL) == 0);
    for (int n = 0; n < 8; n++)
        must(pthread_join(tasks[n], NULL) == 0);
    printf("pthreads: %ld\n", total);
    pthread_setname_np(pthread_self(), "work");
    sem_t *semaphore;
    must((semaphore = sem_open("/belljar-work", O_CREAT, 0600, 1)) != SEM_FAILED);
    must(sem_wait(semaphore) == 0 && sem_unlink("/belljar-work") == 0);
    int value;
    sem_getvalue(semaphore, &value);
    printf("semaphore: %d\n", value);
}

static void children(void)
{
    pid_t pid;
    int status;
    char *words[] = {"true", NULL};
    must(posix_spawn(&pid, "/bin/true", NULL, NULL, words, environ) == 0);
    must(waitpid(pid, &status, 0) == pid);
    printf("posix_spawn: %d\n", WEXITSTATUS(status));
    must((pid = vfork()) >= 0);
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "exit 7", NULL);
        _exit(1);
    }
    must(waitpid(pid, &status, 0) == pid);
    printf("vfork: %d\n", WEXITSTATUS(status));
    fflush(stdout);
    FILE *pipe = popen("echo from popen", "r");
    char line[100];
    must(pipe && fgets(line, sizeof line, pipe));
    printf("popen: %s", line);
    printf("pclose: %d\n", pclose(pipe));
    printf("system: %d\n", WEXITSTATUS(system("exit 5")));
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(shared != MAP_FAILED && (pid = fork()) >= 0);
    if (pid == 0) {
        *shared = 42;
        _exit(0);
    }
    must(waitpid(pid, &status, 0) == pid);
    printf("shared map: %d\n", *shared);
}

static void ipc(void)
{
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    must(id >= 0);
    char *memory = shmat(id, NULL, 0);
    must(memory != (void *)-1 && shmctl(id, IPC_RMID, NULL) == 0);
    strcpy(memory, "sysv");
    printf("shm: %s\n", memory);
    must((id = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600)) >= 0 && semctl(id, 0, IPC_RMID) == 0);
    must((id = msgget(IPC_PRIVATE, IPC_CREAT | 0600)) >= 0);
    struct { long type; char text[8]; } message = {1, "queue"};
    must(msgsnd(id, &message, 8, 0) == 0 && msgrcv(id, &message, 8, 1, 0) == 8);
    must(msgctl(id, IPC_RMID, NULL) == 0);
    printf("msg: %s\n", message.text);
    mqd_t queue = mq_open("/belljar-work", O_CREAT | O_RDWR, 0600, NULL);
    if (queue == (mqd_t)-1)
        printf("mq: errno %d\n", errno);
    else {
        must(mq_send(queue, "x", 1, 0) == 0 && mq_unlink("/belljar-work") == 0);
        printf("mq: sent\n");
    }
}

static void descriptors(void)
{
    char name[32] = "/tmp/work-XXXXXX";
    int file = mkstemp(name);
    must(file >= 0);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    must(fcntl(file, F_SETLK, &lock) == 0 && fcntl(file, F_OFD_SETLK, &lock) != 2);
    must(posix_fallocate(file, 0, 65536) == 0 && ftruncate(file, 4096) == 0 && fsync(file) == 0);
    int watch = inotify_init1(IN_CLOEXEC);
    must(watch >= 0 && inotify_add_watch(watch, name, IN_MODIFY) >= 0);
    must(pwrite(file, "x", 1, 0) == 1);
    struct inotify_event event;
    must(read(watch, &event, sizeof event) > 0);
    printf("inotify: %d\n", event.mask == IN_MODIFY);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec soon = {.it_value = {.tv_nsec = 1000000}};
    unsigned long long count;
    must(timer >= 0 && timerfd_settime(timer, 0, &soon, NULL) == 0 && read(timer, &count, 8) == 8);
    printf("timerfd: %llu\n", count);
    int events = eventfd(3, 0);
    must(events >= 0 && read(events, &count, 8) == 8);
    printf("eventfd: %llu\n", count);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    int signals = signalfd(-1, &set, 0);
    struct signalfd_siginfo info;
    must(raise(SIGUSR1) == 0 && read(signals, &info, sizeof info) == sizeof info);
    printf("signalfd: %d\n", info.ssi_signo == SIGUSR1);
    timer_t clock;
    struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    must(timer_create(CLOCK_MONOTONIC, &how, &clock) == 0 && timer_settime(clock, 0, &soon, NULL) == 0);
    must(read(signals, &info, sizeof info) == sizeof info);
    printf("timer: %d\n", info.ssi_code == SI_TIMER);
    int memory = memfd_create("work", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    must(memory >= 0 && ftruncate(memory, 4096) == 0 && fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    printf("memfd: sealed\n");
    int ends[2];
    must(pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], "spliced", 7) == 7);
    off64_t at = 0;
    must(splice(ends[0], NULL, file, &at, 7, 0) == 7);
    printf("splice: 7\n");
    must(copy_file_range(file, &(off64_t){0}, file, &(off64_t){100}, 7, 0) == 7);
    must(unlink(name) == 0);
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {.iov_base = "x", .iov_len = 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &file, sizeof file);
    char byte;
    part.iov_base = &byte;
    must(sendmsg(pair[0], &message, 0) == 1 && recvmsg(pair[1], &message, 0) == 1);
    printf("passed descriptor: %d\n", CMSG_FIRSTHDR(&message)->cmsg_type == SCM_RIGHTS);
    struct sockaddr_un name_of = {.sun_family = AF_UNIX, .sun_path = "\0belljar-work"};
    int server = socket(AF_UNIX, SOCK_DGRAM, 0), client = socket(AF_UNIX, SOCK_DGRAM, 0);
    must(bind(server, (void *)&name_of, sizeof name_of) == 0);
    must(sendto(client, "d", 1, 0, (void *)&name_of, sizeof name_of) == 1 && recv(server, &byte, 1, 0) == 1);
    printf("abstract datagram: %c\n", byte);
}

int main(int count, char **words)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int n = 1; n < count; n++) {
        if (!strcmp(words[n], "threads"))
            threads();
        else if (!strcmp(words[n], "children"))
            children();
        else if (!strcmp(words[n], "ipc"))
            ipc();
        else if (!strcmp(words[n], "descriptors"))
            descriptors();
        else
            return 2;
    }
    return 0;
}
