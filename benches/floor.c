/* The floor: what the kernel's work of a launch costs when nothing else is done.
 *
 * It reads the same list of steps that Belljar's planner made (written out by the bench, one line a step), and
 * does each with the fewest system calls that have the same effect. It checks nothing, receipts nothing, knows one
 * jar at a time and trusts everybody: a measure, not a sandbox.
 *
 *   floor once LIST    run the list once, relay nothing, exit as the program did
 *   floor serve LIST   requests on descriptor 0 (SOCK_SEQPACKET):
 *                      'P' make a child with its namespaces now, for the next launch (answer: 'P')
 *                      'L' launch, with four descriptors: exec socket, stdin, stdout, stderr (answer: an int, the status);
 *                          the filter's listener comes over the exec socket
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

/* Numbers shared by x86_64 and aarch64; the libc of Debian 12 has no names for some. */
enum {
    NR_open_tree = 428, NR_move_mount = 429, NR_fsopen = 430, NR_fsconfig = 431, NR_fsmount = 432, NR_clone3 = 435,
    NR_close_range = 436, NR_mount_setattr = 442, NR_landlock_create_ruleset = 444, NR_landlock_add_rule = 445,
    NR_landlock_restrict_self = 446, PATH_BENEATH = 1, SET_MDWE = 65, REFUSE_EXEC_GAIN = 1,
    NEW_LISTENER = 1 << 3, WAIT_KILLABLE = 1 << 5,
    TREE_CLONE = 1, TREE_CLOEXEC = O_CLOEXEC, RECURSIVE = 0x8000, EMPTY_PATH = 0x1000, MOVE_FROM_FD = 4, ATTR_IDMAP = 0x100000,
    CONFIG_STRING = 1, CONFIG_CREATE = 6, IS_PIDFD = 0x1000,
};

enum op {
    OP_detach, OP_clone, OP_map_ids, OP_drop_groups, OP_take_ids, OP_oom_score, OP_undumpable, OP_die_with_launcher,
    OP_private_mounts, OP_root, OP_directory, OP_symlink, OP_file, OP_scratch, OP_bind_path, OP_bind_scratch,
    OP_bind_slot, OP_proc,
    OP_devpts, OP_device, OP_mask, OP_read_only, OP_leave_machine, OP_seal_root, OP_hostname, OP_loopback, OP_keyring,
    OP_no_new_privs, OP_securebits, OP_capabilities, OP_fork, OP_session, OP_streams, OP_close_descriptors, OP_workdir,
    OP_umask, OP_rlimit, OP_signals, OP_fixed_code, OP_canary, OP_queues, OP_ruleset, OP_allow_path, OP_allow_queues,
    OP_restrict, OP_filter, OP_exec, OPS
};
static const char *const words[OPS] = {
    "detach", "clone", "map_ids", "drop_groups", "take_ids", "oom_score", "undumpable", "die_with_launcher",
    "private_mounts", "root", "directory", "symlink", "file", "scratch", "bind_path", "bind_scratch",
    "bind_slot", "proc",
    "devpts", "device", "mask", "read_only", "leave_machine", "seal_root", "hostname", "loopback", "keyring",
    "no_new_privs", "securebits", "capabilities", "fork", "session", "streams", "close_descriptors", "workdir",
    "umask", "rlimit", "signals", "fixed_code", "canary", "queues", "ruleset", "allow_path", "allow_queues",
    "restrict", "filter", "exec",
};

/* One step: numbers and strings in the order of its line. */
struct step {
    enum op op;
    uint64_t number[6];
    char *string[3];
    size_t length[3];
    char **arguments, **variables;
};
static struct step steps[1024];
static int count;
static uint64_t namespaces;
static const struct step *map;
static unsigned machine_uid, machine_gid;
static int lifeline[2];

/* What a jar is given: the socket whose end says that the program runs, its streams, detached mounts. */
enum { SLOTS = 8, STREAMS = 4 };
struct gifts { int exec, in, out, err, mounts[SLOTS]; };
static int slots;
static int slot_users[SLOTS]; /* for id mapped mounts, made once */

static void fail(const struct step *step, const char *call) {
    dprintf(2, "floor: %s: %s: %s\n", step ? words[step->op] : "server", call, strerror(errno));
    _exit(125);
}
#define MUST(step, call) do { if ((long)(call) < 0) fail(step, #call); } while (0)

/* ---- the list ---- */

static int nibble(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* A string is hexadecimal behind an `x`. */
static char *text(const char *token, size_t *length) {
    size_t n = strlen(token + 1) / 2;
    char *out = malloc(n + 1);
    for (size_t i = 0; i < n; i++) out[i] = (char)(nibble(token[1 + 2 * i]) << 4 | nibble(token[2 + 2 * i]));
    out[n] = 0;
    if (length) *length = n;
    return out;
}

static char **texts(char **save) {
    size_t n = strtoul(strtok_r(NULL, " ", save), NULL, 10);
    char **list = calloc(n + 1, sizeof *list);
    for (size_t i = 0; i < n; i++) list[i] = text(strtok_r(NULL, " ", save), NULL);
    return list;
}

static void read_list(const char *path) {
    FILE *file = fopen(path, "re");
    if (!file) fail(NULL, path);
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, file) > 0) {
        char *save;
        line[strcspn(line, "\n")] = 0;
        char *word = strtok_r(line, " ", &save);
        if (!word) continue;
        if (!strcmp(word, "machine")) {
            machine_uid = (unsigned)strtoul(strtok_r(NULL, " ", &save), NULL, 10);
            machine_gid = (unsigned)strtoul(strtok_r(NULL, " ", &save), NULL, 10);
            continue;
        }
        struct step *step = &steps[count++];
        for (step->op = 0; step->op < OPS && strcmp(words[step->op], word); step->op++) {}
        if (step->op == OPS) { dprintf(2, "floor: cannot do %s\n", word); _exit(125); }
        int numbers = 0, strings = 0;
        if (step->op == OP_exec) {
            step->string[0] = text(strtok_r(NULL, " ", &save), NULL);
            step->arguments = texts(&save);
            step->variables = texts(&save);
            continue;
        }
        for (char *token; (token = strtok_r(NULL, " ", &save));) {
            if (*token == 'x') { step->string[strings] = text(token, &step->length[strings]); strings++; }
            else step->number[numbers++] = strtoull(token, NULL, 10);
        }
        if (step->op == OP_clone) namespaces = step->number[0];
        if (step->op == OP_map_ids) map = step;
    }
    free(line);
    fclose(file);
}

/* ---- mounts ---- */

static int tree(int from, const char *path, uint64_t recursive) {
    return (int)syscall(NR_open_tree, from, path, TREE_CLONE | TREE_CLOEXEC | (recursive ? RECURSIVE : 0));
}
static int attributes(int mount, uint64_t set, uint64_t recursive) {
    struct { uint64_t set, clear, propagation, userns; } change = { set, 0, 0, 0 };
    return (int)syscall(NR_mount_setattr, mount, "", EMPTY_PATH | (recursive ? RECURSIVE : 0), &change, sizeof change);
}
static int attach(int mount, int at, const char *path) {
    return (int)syscall(NR_move_mount, mount, "", at, path, MOVE_FROM_FD);
}
static void bind_tree(const struct step *step, int from, const char *source, const char *target, uint64_t recursive,
                      uint64_t attribute) {
    int mount = tree(from, source, recursive);
    MUST(step, mount);
    if (attribute) MUST(step, attributes(mount, attribute, recursive));
    MUST(step, attach(mount, AT_FDCWD, target));
    close(mount);
}
static int memory(const struct step *step, const char *kind, const uint64_t *sizes, const char *mode, uint64_t set) {
    int context = (int)syscall(NR_fsopen, kind, 1);
    MUST(step, context);
    char value[24];
    if (sizes) {
        snprintf(value, sizeof value, "%llu", (unsigned long long)sizes[0]);
        MUST(step, syscall(NR_fsconfig, context, CONFIG_STRING, "size", value, 0));
        snprintf(value, sizeof value, "%llu", (unsigned long long)sizes[1]);
        MUST(step, syscall(NR_fsconfig, context, CONFIG_STRING, "nr_inodes", value, 0));
    }
    if (mode) MUST(step, syscall(NR_fsconfig, context, CONFIG_STRING, "mode", mode, 0));
    if (!strcmp(kind, "devpts")) {
        MUST(step, syscall(NR_fsconfig, context, CONFIG_STRING, "ptmxmode", "0666", 0));
    }
    MUST(step, syscall(NR_fsconfig, context, CONFIG_CREATE, NULL, NULL, 0));
    int mount = (int)syscall(NR_fsmount, context, 1, set);
    MUST(step, mount);
    close(context);
    return mount;
}

/* ---- the jar ---- */

static void write_small(const struct step *step, const char *path, const char *bytes, size_t length, int flags) {
    int file = open(path, O_WRONLY | O_CLOEXEC | flags, 0600);
    MUST(step, file);
    if (length) MUST(step, write(file, bytes, length));
    close(file);
}

/* What pid 1 of a jar needs once its guest runs: wait, tell, exit. */
static void watch(int control, pid_t guest) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    MUST(NULL, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(NULL, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    siginfo_t end;
    while (waitid(P_PID, (id_t)guest, &end, WEXITED) < 0 && errno == EINTR) {}
    int record[2] = { end.si_code, end.si_status };
    MUST(NULL, send(control, record, sizeof record, MSG_NOSIGNAL));
    _exit(0);
}

static void give(int to, const int *descriptors, size_t many) {
    union { char bytes[CMSG_SPACE(sizeof(struct gifts))]; struct cmsghdr header; } ancillary = { { 0 } };
    struct iovec data = { "L", 1 };
    struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = ancillary.bytes,
                              .msg_controllen = CMSG_SPACE(many * sizeof *descriptors) };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(many * sizeof *descriptors);
    memcpy(CMSG_DATA(header), descriptors, many * sizeof *descriptors);
    MUST(NULL, sendmsg(to, &message, MSG_NOSIGNAL));
}

/* Room for a list of pointers at an address that nobody can guess. */
static char **somewhere(const struct step *step, char *const *list) {
    size_t length = sizeof *list;
    while (list[length / sizeof *list - 1]) length += sizeof *list;
    uint64_t random;
    MUST(step, getrandom(&random, sizeof random, 0));
    uintptr_t address = (random % (0x7ffe00000000 >> 12) << 12) + (1ULL << 32);
    char *place = mmap((void *)address, length + 4096, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    MUST(step, place == MAP_FAILED ? -1 : 0);
    return memcpy(place + (random >> 52 & 0xff8), list, length);
}

/* Installs the filter, with the secret addresses put in and the listener handed out over descriptor 3. */
static void filter(const struct step *step, const struct step *start, char ***arguments, char ***variables) {
    const uint64_t *n = step->number;
    struct sock_filter *code = (void *)step->string[0];
    if (n[1] || n[2] || n[3] || n[4]) {
        uintptr_t address[] = { (uintptr_t)(*arguments = somewhere(step, start->arguments)),
                                (uintptr_t)(*variables = somewhere(step, start->variables)) };
        for (int i = 0; i < 4; i++) code[n[1 + i]].k = (uint32_t)(address[i / 2] >> (i % 2 ? 32 : 0));
    }
    struct sock_fprog program = { (unsigned short)(step->length[0] / sizeof *code), code };
    int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, n[0] ? NEW_LISTENER | WAIT_KILLABLE : 0, &program);
    MUST(step, listener);
    if (n[0]) give(3, &listener, 1);
}

static void allow(const struct step *step, int rules, int place) {
    struct { uint64_t access; int32_t place; } __attribute__((packed)) rule = { step->number[0], place };
    MUST(step, syscall(NR_landlock_add_rule, rules, PATH_BENEATH, &rule, 0));
    close(place);
}

static void jar(int control, struct gifts gifts) {
    int machine = -1, scratch = -1, empty[2] = { -1, -1 }, rules = -1, queues = -1;
    const char *scratch_at = NULL;
    char **arguments = steps[count - 1].arguments, **variables = steps[count - 1].variables;
    for (const struct step *step = steps; step < steps + count; step++) {
        const uint64_t *n = step->number;
        char *const *s = step->string;
        switch (step->op) {
        case OP_detach: case OP_clone: case OP_map_ids: break;
        case OP_drop_groups: MUST(step, setgroups(0, NULL)); break;
        case OP_take_ids:
            MUST(step, syscall(SYS_setresgid, n[1], n[1], n[1]));
            MUST(step, syscall(SYS_setresuid, n[0], n[0], n[0]));
            break;
        case OP_oom_score: {
            /* take_ids made us undumpable, and with that our files in /proc root's. */
            char value[8];
            MUST(step, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
            int length = snprintf(value, sizeof value, "%d", (int)n[0]);
            write_small(step, "/proc/self/oom_score_adj", value, (size_t)length, 0);
            break;
        }
        case OP_undumpable: MUST(step, prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)); break;
        case OP_die_with_launcher: {
            struct pollfd lives = { lifeline[0], 0, 0 };
            MUST(step, prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
            if (poll(&lives, 1, 0)) _exit(125);
            break;
        }
        case OP_private_mounts: MUST(step, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)); break;
        case OP_root: {
            int root = memory(step, "tmpfs", n, "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
            MUST(step, attach(root, AT_FDCWD, s[0]));
            machine = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
            MUST(step, machine);
            MUST(step, fchdir(root));
            MUST(step, syscall(SYS_pivot_root, ".", "."));
            close(root);
            break;
        }
        case OP_directory:
            /* The list names each parent, but some steps share one. */
            if (mkdir(s[0], (mode_t)n[0]) && errno != EEXIST) fail(step, s[0]);
            break;
        case OP_symlink: MUST(step, symlink(s[1], s[0])); break;
        case OP_file: {
            int file = open(s[0], O_WRONLY | O_CREAT | O_CLOEXEC, (mode_t)n[0]);
            MUST(step, file);
            if (step->length[1]) MUST(step, write(file, s[1], step->length[1]));
            close(file);
            break;
        }
        case OP_scratch:
            scratch = memory(step, "tmpfs", n, "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
            scratch_at = s[0];
            if (mkdir(s[0], 0700) && errno != EEXIST) fail(step, s[0]);
            MUST(step, attach(scratch, AT_FDCWD, s[0]));
            break;
        case OP_bind_path: bind_tree(step, machine, s[0] + 1, s[1], n[0], n[1]); break;
        case OP_bind_scratch:
            if (mkdirat(scratch, s[0], 01777) && errno != EEXIST) fail(step, s[0]);
            bind_tree(step, scratch, s[0], s[1], n[0], n[1]);
            break;
        case OP_bind_slot:
            MUST(step, attach(gifts.mounts[n[0]], AT_FDCWD, s[0]));
            close(gifts.mounts[n[0]]);
            break;
        case OP_proc: {
            int mount = memory(step, "proc", NULL, NULL, n[0]);
            MUST(step, attach(mount, AT_FDCWD, s[0]));
            close(mount);
            break;
        }
        case OP_devpts: {
            int mount = memory(step, "devpts", NULL, "0600", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
            MUST(step, attach(mount, AT_FDCWD, s[0]));
            close(mount);
            break;
        }
        case OP_device: {
            char from[64], to[64];
            snprintf(from, sizeof from, "dev/%s", s[0]);
            snprintf(to, sizeof to, "/dev/%s", s[0]);
            int file = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
            MUST(step, file);
            close(file);
            bind_tree(step, machine, from, to, 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
            break;
        }
        case OP_mask: {
            struct stat what;
            if (stat(s[0], &what)) break;
            int folder = S_ISDIR(what.st_mode);
            const char *nothing = folder ? "/.nothing.d" : "/.nothing";
            if (empty[folder] < 0) {
                if (folder) MUST(step, mkdir(nothing, 0555));
                else MUST(step, mknod(nothing, S_IFREG | 0444, 0));
                MUST(step, empty[folder] = tree(AT_FDCWD, nothing, 0));
                MUST(step, attributes(empty[folder], MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC, 0));
                MUST(step, attach(empty[folder], AT_FDCWD, s[0]));
                break;
            }
            int copy = (int)syscall(NR_open_tree, empty[folder], "", TREE_CLONE | TREE_CLOEXEC | EMPTY_PATH);
            MUST(step, copy);
            MUST(step, attach(copy, AT_FDCWD, s[0]));
            close(copy);
            break;
        }
        case OP_read_only:
            bind_tree(step, AT_FDCWD, s[0], s[0], 1,
                      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
            break;
        case OP_leave_machine:
            if (scratch_at) {
                MUST(step, umount2(scratch_at, MNT_DETACH));
                rmdir(scratch_at);
                close(scratch);
            }
            if (empty[0] >= 0) unlink("/.nothing");
            if (empty[1] >= 0) rmdir("/.nothing.d");
            MUST(step, fchdir(machine));
            MUST(step, umount2(".", MNT_DETACH));
            MUST(step, chdir("/"));
            close(machine);
            break;
        case OP_seal_root: {
            struct { uint64_t set, clear, propagation, userns; } change = { MOUNT_ATTR_RDONLY, 0, 0, 0 };
            MUST(step, syscall(NR_mount_setattr, AT_FDCWD, "/", 0, &change, sizeof change));
            break;
        }
        case OP_hostname: MUST(step, sethostname(s[0], step->length[0])); break;
        case OP_loopback: {
            struct ifreq loopback = { .ifr_name = "lo", .ifr_flags = IFF_UP };
            int socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
            MUST(step, socket_);
            MUST(step, ioctl(socket_, SIOCSIFFLAGS, &loopback));
            close(socket_);
            break;
        }
        case OP_keyring: MUST(step, syscall(SYS_keyctl, 1, NULL)); break;
        case OP_no_new_privs: MUST(step, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); break;
        case OP_securebits: MUST(step, prctl(PR_SET_SECUREBITS, 0xef, 0, 0, 0)); break;
        case OP_capabilities: {
            struct { uint32_t version; int pid; } head = { 0x20080522, 0 };
            struct { uint32_t effective, permitted, inheritable; } sets[2] = { { 0 } };
            for (int cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++) {}
            MUST(step, syscall(SYS_capset, &head, sets));
            break;
        }
        case OP_fork: {
            pid_t guest = fork();
            MUST(step, guest);
            if (guest) {
                MUST(step, dup2(control, 3));
                MUST(step, syscall(NR_close_range, 4, ~0U, 0));
                for (int i = 0; i < 3; i++) close(i);
                watch(3, guest);
            }
            break;
        }
        case OP_session: MUST(step, setsid()); break;
        case OP_streams:
            MUST(step, dup2(gifts.in, 0));
            MUST(step, dup2(gifts.out, 1));
            MUST(step, dup2(gifts.err, 2));
            break;
        case OP_close_descriptors:
            if (gifts.exec != 3) MUST(step, dup3(gifts.exec, 3, O_CLOEXEC));
            if (queues >= 0 && queues != 4) MUST(step, dup3(queues, 4, O_CLOEXEC));
            MUST(step, syscall(NR_close_range, queues < 0 ? 4 : 5, ~0U, 0));
            break;
        case OP_workdir: MUST(step, chdir(s[0])); break;
        case OP_umask: umask((mode_t)n[0]); break;
        case OP_rlimit: {
            struct rlimit limit = { n[1], n[2] };
            MUST(step, setrlimit((int)n[0], &limit));
            break;
        }
        case OP_signals: {
            /* Nothing is ignored or handled in this program. */
            sigset_t none;
            sigemptyset(&none);
            MUST(step, sigprocmask(SIG_SETMASK, &none, NULL));
            break;
        }
        case OP_fixed_code: MUST(step, prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0)); break;
        case OP_canary: break; /* It serves only to look whether the rules hold. */
        case OP_ruleset:
            MUST(step, rules = (int)syscall(NR_landlock_create_ruleset, n, 3 * sizeof *n, 0));
            break;
        case OP_allow_path: {
            int place = open(s[0], O_PATH | O_CLOEXEC);
            if (place < 0 && n[1]) break;
            MUST(step, place);
            allow(step, rules, place);
            break;
        }
        case OP_queues: queues = memory(step, "mqueue", NULL, NULL, 0); break;
        case OP_allow_queues: allow(step, rules, 4); break;
        case OP_restrict:
            MUST(step, syscall(NR_landlock_restrict_self, rules, 0));
            close(rules);
            break;
        case OP_filter: filter(step, &steps[count - 1], &arguments, &variables); break;
        case OP_exec:
            syscall(SYS_execveat, AT_FDCWD, s[0], arguments, variables, 0);
            fail(step, s[0]);
            break;
        case OPS: break;
        }
    }
    _exit(125);
}

/* ---- the launcher ---- */

struct child { pid_t pid; int pidfd, control; };

static int receive(int from, char *kind, struct gifts *gifts) {
    union { char bytes[CMSG_SPACE(sizeof *gifts)]; struct cmsghdr header; } ancillary;
    struct iovec data = { kind, 1 };
    struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = ancillary.bytes,
                              .msg_controllen = sizeof ancillary };
    if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) <= 0) return -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header) memcpy(gifts, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    return 0;
}

static void write_map(pid_t pid, const char *file, unsigned inside, unsigned outside) {
    char path[48], value[48];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int length = snprintf(value, sizeof value, "%u %u 1", inside, outside);
    write_small(map, path, value, (size_t)length, 0);
}

/* A user namespace for each slot that is shown under other ids, once for all launches. */
static void make_users(void) {
    for (const struct step *step = steps; step < steps + count && step->op == OP_detach; step++) {
        slots++;
        if (!step->number[1]) continue;
        struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } how = {
            .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
        pid_t holder = (pid_t)syscall(NR_clone3, &how, sizeof how);
        MUST(step, holder);
        if (!holder) for (;;) pause();
        char path[48];
        write_map(holder, "gid_map", (unsigned)step->number[3], machine_gid);
        write_map(holder, "uid_map", (unsigned)step->number[2], machine_uid);
        snprintf(path, sizeof path, "/proc/%d/ns/user", holder);
        MUST(step, slot_users[step->number[0]] = open(path, O_RDONLY | O_CLOEXEC));
        kill(holder, SIGKILL);
        waitpid(holder, NULL, 0);
    }
}

static void detach(struct gifts *gifts) {
    for (const struct step *step = steps; step < steps + count && step->op == OP_detach; step++) {
        const uint64_t *n = step->number;
        int mount = tree(AT_FDCWD, step->string[0], n[4]);
        MUST(step, mount);
        struct { uint64_t set, clear, propagation, userns; } change = {
            n[5] | (n[1] ? ATTR_IDMAP : 0), 0, 0, n[1] ? (uint64_t)slot_users[n[0]] : 0 };
        MUST(step, syscall(NR_mount_setattr, mount, "", EMPTY_PATH | (n[4] ? RECURSIVE : 0), &change, sizeof change));
        gifts->mounts[n[0]] = mount;
    }
}

/* Makes a child in namespaces of its own, its ids mapped. `inherited`: it already has the launch's descriptors. */
static struct child make(const struct gifts *inherited) {
    struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } how = { 0 };
    struct child child;
    int pair[2];
    MUST(NULL, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
    how.flags = namespaces | IS_PIDFD;
    how.pidfd = (uint64_t)(uintptr_t)&child.pidfd;
    how.exit_signal = SIGCHLD;
    child.pid = (pid_t)syscall(NR_clone3, &how, sizeof how);
    MUST(NULL, child.pid);
    if (!child.pid) {
        struct gifts gifts = inherited ? *inherited : (struct gifts){ 0 };
        char kind;
        close(pair[0]);
        close(lifeline[1]);
        if (receive(pair[1], &kind, &gifts) < 0) _exit(125);
        jar(pair[1], gifts);
    }
    close(pair[1]);
    child.control = pair[0];
    if (map) {
        if (map->number[2]) {
            char path[48];
            snprintf(path, sizeof path, "/proc/%d/setgroups", child.pid);
            write_small(map, path, "deny", 4, 0);
        }
        write_map(child.pid, "gid_map", (unsigned)map->number[1], machine_gid);
        write_map(child.pid, "uid_map", (unsigned)map->number[0], machine_uid);
    }
    return child;
}

/* Waits for the jar and gives the guest's status as wait4(2) would. */
static int end(struct child child) {
    int status, record[2] = { 0, 0 };
    struct rusage usage;
    MUST(NULL, wait4(child.pid, &status, 0, &usage));
    if (recv(child.control, record, sizeof record, MSG_DONTWAIT) != sizeof record) return status ? status : 125 << 8;
    close(child.control);
    close(child.pidfd);
    return record[0] == CLD_EXITED ? record[1] << 8 : record[1];
}

static int serve(void) {
    struct child parked = { 0 };
    for (;;) {
        struct gifts gifts;
        char kind;
        if (receive(0, &kind, &gifts) < 0) return 0;
        if (kind == 'P') {
            parked = make(NULL);
            MUST(NULL, send(0, "P", 1, MSG_NOSIGNAL));
            continue;
        }
        struct child child = parked;
        detach(&gifts);
        if (parked.pid) {
            give(child.control, &gifts.exec, (size_t)(STREAMS + slots));
        } else {
            child = make(&gifts);
            MUST(NULL, send(child.control, "L", 1, MSG_NOSIGNAL));
        }
        parked.pid = 0;
        close(gifts.exec);
        close(gifts.in);
        close(gifts.out);
        close(gifts.err);
        for (int i = 0; i < slots; i++) close(gifts.mounts[i]);
        int status = end(child);
        MUST(NULL, send(0, &status, sizeof status, MSG_NOSIGNAL));
    }
}

static int once(void) {
    int started[2], in[2], out[2], err[2];
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) fail(NULL, "pipe2");
    MUST(NULL, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, started));
    struct gifts gifts = { started[1], in[0], out[1], err[1], { 0 } };
    detach(&gifts);
    struct child child = make(&gifts);
    MUST(NULL, send(child.control, "L", 1, MSG_NOSIGNAL));
    close(started[1]);
    close(in[0]);
    close(in[1]);
    close(out[1]);
    close(err[1]);
    struct pollfd ends[] = { { out[0], POLLIN, 0 }, { err[0], POLLIN, 0 } };
    char bytes[4096], kind;
    /* The listener, where there is one, is kept as long as the guest lives; nobody answers. */
    while (receive(started[0], &kind, &gifts) == 0) {}
    for (int open_ = 2; open_;) {
        MUST(NULL, poll(ends, 2, -1));
        for (int i = 0; i < 2; i++) {
            if (!ends[i].revents) continue;
            ssize_t got = read(ends[i].fd, bytes, sizeof bytes);
            if (got > 0) MUST(NULL, write(1 + i, bytes, (size_t)got));
            else { ends[i].fd = -1; open_--; }
        }
    }
    int status = end(child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    /* As Belljar's launcher: no priority over the machine's other processes. */
    MUST(NULL, sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){ 0 }));
    read_list(argv[2]);
    MUST(NULL, pipe2(lifeline, O_CLOEXEC));
    make_users();
    return strcmp(argv[1], "serve") ? once() : serve();
}
