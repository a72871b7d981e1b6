//! Numbers of the kernel's that arguments are held against and described by;
//! the same on both architectures.

/// A number and its name.
pub(super) type Named = (u32, &'static str);

/// Namespaces, as clone(2) and unshare(2) have them.
pub(super) const NAMESPACES: &[Named] = &[
    (0x0002_0000, "CLONE_NEWNS"),
    (0x0200_0000, "CLONE_NEWCGROUP"),
    (0x0400_0000, "CLONE_NEWUTS"),
    (0x0800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
];
/// In clone(2) this bit is part of a signal's number.
pub(super) const CLONE_NEWTIME: u32 = 0x80;

/// `S_ISUID | S_ISGID`; inode(7).
pub(super) const SET_ID: u32 = 0o6000;
/// The part of a mode that says what a file is; inode(7).
pub(super) const FILE_TYPE: u32 = 0o170_000;
pub(super) const CHARACTER_DEVICE: u32 = 0o020_000;
pub(super) const BLOCK_DEVICE: u32 = 0o060_000;
/// `O_CREAT | __O_TMPFILE`: only then has an open a mode.
pub(super) const CREATES: u32 = 0o20_000_100;
/// open(2): `O_WRONLY | O_RDWR`
pub(super) const O_ACCMODE: u32 = 0o3;
pub(super) const O_TRUNC: u32 = 0o1000;
pub(super) const O_PATH: u32 = 0o10_000_000;
/// The path is empty, and the descriptor itself is meant; stat(2).
pub(super) const AT_EMPTY_PATH: u32 = 0x1000;

/// Families of sockets; `<linux/socket.h>`.
pub(super) const FAMILIES: &[Named] = &[
    (0, "AF_UNSPEC"),
    (1, "AF_UNIX"),
    (2, "AF_INET"),
    (3, "AF_AX25"),
    (4, "AF_IPX"),
    (5, "AF_APPLETALK"),
    (6, "AF_NETROM"),
    (8, "AF_ATMPVC"),
    (9, "AF_X25"),
    (10, "AF_INET6"),
    (11, "AF_ROSE"),
    (15, "AF_KEY"),
    (16, "AF_NETLINK"),
    (17, "AF_PACKET"),
    (20, "AF_ATMSVC"),
    (21, "AF_RDS"),
    (23, "AF_IRDA"),
    (24, "AF_PPPOX"),
    (26, "AF_LLC"),
    (27, "AF_IB"),
    (28, "AF_MPLS"),
    (29, "AF_CAN"),
    (30, "AF_TIPC"),
    (31, "AF_BLUETOOTH"),
    (32, "AF_IUCV"),
    (33, "AF_RXRPC"),
    (34, "AF_ISDN"),
    (35, "AF_PHONET"),
    (36, "AF_IEEE802154"),
    (37, "AF_CAIF"),
    (38, "AF_ALG"),
    (39, "AF_NFC"),
    (40, "AF_VSOCK"),
    (41, "AF_KCM"),
    (42, "AF_QIPCRTR"),
    (43, "AF_SMC"),
    (44, "AF_XDP"),
    (45, "AF_MCTP"),
];
pub(super) const AF_UNIX: u32 = 1;
pub(super) const AF_INET: u32 = 2;
pub(super) const AF_INET6: u32 = 10;
pub(super) const AF_NETLINK: u32 = 16;

/// Types of sockets, without their flags; socket(2).
pub(super) const SOCKET_TYPES: &[Named] = &[
    (1, "SOCK_STREAM"),
    (2, "SOCK_DGRAM"),
    (3, "SOCK_RAW"),
    (4, "SOCK_RDM"),
    (5, "SOCK_SEQPACKET"),
    (6, "SOCK_DCCP"),
    (10, "SOCK_PACKET"),
];
/// The part of a type that is not flags.
pub(super) const SOCKET_TYPE: u32 = 0xf;
pub(super) const SOCK_STREAM: u32 = 1;
pub(super) const SOCK_DGRAM: u32 = 2;
pub(super) const SOCK_SEQPACKET: u32 = 5;

/// Internet protocols that programs name: the type's own, ICMP, TCP, UDP, ICMPv6.
pub(super) const PROTOCOLS: &[Named] = &[
    (0, "IPPROTO_IP"),
    (1, "IPPROTO_ICMP"),
    (6, "IPPROTO_TCP"),
    (17, "IPPROTO_UDP"),
    (58, "IPPROTO_ICMPV6"),
];

pub(super) const MPTCP: u32 = 262;

/// Netlink's protocols; netlink(7).
pub(super) const NETLINK: &[Named] = &[
    (0, "NETLINK_ROUTE"),
    (4, "NETLINK_SOCK_DIAG"),
    (6, "NETLINK_XFRM"),
    (9, "NETLINK_AUDIT"),
    (12, "NETLINK_NETFILTER"),
    (15, "NETLINK_KOBJECT_UEVENT"),
    (16, "NETLINK_GENERIC"),
    (21, "NETLINK_CRYPTO"),
];

pub(super) const MSG_OOB: u32 = 1;

/// Requests that put input into a terminal, or change how it is driven; ioctl_tty(2).
pub(super) const TERMINAL_REQUESTS: &[Named] = &[
    (0x5412, "TIOCSTI"),
    (0x541c, "TIOCLINUX"),
    (0x5423, "TIOCSETD"),
    (0x541d, "TIOCCONS"),
];

/// Requests that ordinary programs make: terminals of the jar's own, pipes,
/// sockets' queues and interfaces, copies that share blocks; ioctl(2).
pub(super) const REQUESTS: &[Named] = &[
    (0x5401, "TCGETS"),
    (0x5402, "TCSETS"),
    (0x5403, "TCSETSW"),
    (0x5404, "TCSETSF"),
    (0x5409, "TCSBRK"),
    (0x540a, "TCXONC"),
    (0x540b, "TCFLSH"),
    (0x540e, "TIOCSCTTY"),
    (0x540f, "TIOCGPGRP"),
    (0x5410, "TIOCSPGRP"),
    (0x5411, "TIOCOUTQ"),
    (0x5413, "TIOCGWINSZ"),
    (0x5414, "TIOCSWINSZ"),
    (0x541b, "FIONREAD"),
    (0x5421, "FIONBIO"),
    (0x5422, "TIOCNOTTY"),
    (0x5424, "TIOCGETD"),
    (0x5429, "TIOCGSID"),
    (0x5450, "FIONCLEX"),
    (0x5451, "FIOCLEX"),
    (0x5452, "FIOASYNC"),
    (0x5460, "FIOQSIZE"),
    (0x8004_5430, "TIOCGPTN"),
    (0x4004_5431, "TIOCSPTLCK"),
    (0x5441, "TIOCGPTPEER"),
    (0x802c_542a, "TCGETS2"),
    (0x402c_542b, "TCSETS2"),
    (0x402c_542c, "TCSETSW2"),
    (0x402c_542d, "TCSETSF2"),
    (0x4004_9409, "FICLONE"),
    (0x4020_940d, "FICLONERANGE"),
    (0x8008_6601, "FS_IOC_GETFLAGS"),
    (0x8905, "SIOCATMARK"),
    (0x8910, "SIOCGIFNAME"),
    (0x8912, "SIOCGIFCONF"),
    (0x8913, "SIOCGIFFLAGS"),
    (0x8915, "SIOCGIFADDR"),
    (0x8919, "SIOCGIFBRDADDR"),
    (0x891b, "SIOCGIFNETMASK"),
    (0x8921, "SIOCGIFMTU"),
    (0x8927, "SIOCGIFHWADDR"),
    (0x8933, "SIOCGIFINDEX"),
];

/// Options of prctl(2) that ordinary programs use on themselves.
pub(super) const PRCTL: &[Named] = &[
    (1, "PR_SET_PDEATHSIG"),
    (2, "PR_GET_PDEATHSIG"),
    (3, "PR_GET_DUMPABLE"),
    (4, "PR_SET_DUMPABLE"),
    (7, "PR_GET_KEEPCAPS"),
    (15, "PR_SET_NAME"),
    (16, "PR_GET_NAME"),
    (21, "PR_GET_SECCOMP"),
    (23, "PR_CAPBSET_READ"),
    (27, "PR_GET_SECUREBITS"),
    (29, "PR_SET_TIMERSLACK"),
    (30, "PR_GET_TIMERSLACK"),
    (36, "PR_SET_CHILD_SUBREAPER"),
    (37, "PR_GET_CHILD_SUBREAPER"),
    (38, "PR_SET_NO_NEW_PRIVS"),
    (39, "PR_GET_NO_NEW_PRIVS"),
    (40, "PR_GET_TID_ADDRESS"),
    (41, "PR_SET_THP_DISABLE"),
    (42, "PR_GET_THP_DISABLE"),
    (47, "PR_CAP_AMBIENT"),
    (52, "PR_GET_SPECULATION_CTRL"),
    (53, "PR_SET_SPECULATION_CTRL"),
    (66, "PR_GET_MDWE"),
    (0x4155_5856, "PR_GET_AUXV"),
    (0x5356_4d41, "PR_SET_VMA"),
];
pub(super) const PR_SET_SECCOMP: u32 = 22;

/// Policies of sched(7) that leave others their share.
pub(super) const FAIR: &[Named] = &[(0, "SCHED_OTHER"), (3, "SCHED_BATCH"), (5, "SCHED_IDLE")];
/// `SCHED_RESET_ON_FORK`
pub(super) const RESET_ON_FORK: u32 = 0x4000_0000;

/// Values of personality(2) that change nothing about memory: Linux, as a 32-bit
/// machine, as an older version, both, and the question what it is.
pub(super) const PERSONALITIES: [u32; 5] = [0, 0x8, 0x0002_0000, 0x0002_0008, u32::MAX];

/// Protection of memory; mmap(2).
pub(super) const PROTECTION: &[Named] = &[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")];
pub(super) const PROT_WRITE: u32 = 2;
pub(super) const PROT_EXEC: u32 = 4;
/// Kinds of mappings; `MAP_SHARED_VALIDATE` has the first bit too.
pub(super) const MAPPING: &[Named] = &[
    (0x01, "MAP_SHARED"),
    (0x02, "MAP_PRIVATE"),
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
];
pub(super) const MAP_SHARED: u32 = 0x01;
pub(super) const MAP_ANONYMOUS: u32 = 0x20;

/// fcntl(2): makes a pipe hold more.
pub(super) const F_SETPIPE_SZ: u32 = 1031;
/// fcntl(2): a lease, which whoever opens the file must wait for.
pub(super) const F_SETLEASE: u32 = 1024;

/// renameat2(2): leaves a device file where the name was.
pub(super) const RENAME_WHITEOUT: u32 = 4;

pub(super) const SOL_SOCKET: u32 = 1;
pub(super) const SOL_TCP: u32 = 6;
/// `SO_ATTACH_FILTER`, `SO_ATTACH_BPF`, `SO_ATTACH_REUSEPORT_CBPF`, `SO_ATTACH_REUSEPORT_EBPF`
pub(super) const ATTACHED_PROGRAMS: [u32; 4] = [26, 50, 51, 52];
/// `SO_SNDBUF`, `SO_RCVBUF`, and both with `FORCE`.
pub(super) const BUFFER_SIZES: [u32; 4] = [7, 8, 32, 33];
/// `SO_PASSPIDFD`, `SO_PEERPIDFD`: descriptors of the task at the other end.
pub(super) const PASSES_TASKS: u32 = 76;
pub(super) const TASK_OF_PEER: u32 = 77;
/// A protocol above TCP inside the kernel, such as TLS.
pub(super) const TCP_ULP: u32 = 31;
