//! A call in words, for events and explanations: its name, and its arguments as
//! far as they are numbers. What an argument points to is never looked at.

use super::{Architecture, Attempt, Call, filter::X32, names::*};

/// How an argument is written.
#[derive(Clone, Copy)]
enum Form {
    /// A signed number, such as a descriptor or a process.
    Number,
    /// An address, or bits without names.
    Hex,
    /// A mode of a file.
    Mode,
    /// One of a list.
    OneOf(&'static [Named]),
    /// One of a list in the bits of a mask, the rest as bits.
    Kind(&'static [Named], u32),
    /// Bits of a list, the rest as bits.
    Bits(&'static [Named]),
}

use Form::{Bits, Hex, Kind, Mode, Number, OneOf};

type Signature = &'static [(&'static str, Form)];

const PROTECT: Signature = &[
    ("address", Hex),
    ("length", Number),
    ("protection", Bits(PROTECTION)),
];

/// Calls that are told of, and what their arguments mean; their manual pages.
const SIGNATURES: &[(&str, Signature)] = &[
    (
        "socket",
        &[
            ("family", OneOf(FAMILIES)),
            ("type", Kind(SOCKET_TYPES, SOCKET_TYPE)),
            ("protocol", Number),
        ],
    ),
    (
        "socketpair",
        &[
            ("family", OneOf(FAMILIES)),
            ("type", Kind(SOCKET_TYPES, SOCKET_TYPE)),
            ("protocol", Number),
        ],
    ),
    (
        "connect",
        &[("fd", Number), ("address", Hex), ("length", Number)],
    ),
    (
        "ioctl",
        &[
            ("fd", Number),
            ("request", OneOf(TERMINAL_REQUESTS)),
            ("argument", Hex),
        ],
    ),
    ("clone", &[("flags", Bits(NAMESPACES)), ("stack", Hex)]),
    ("unshare", &[("flags", Bits(NAMESPACES))]),
    ("setns", &[("fd", Number), ("kind", Bits(NAMESPACES))]),
    (
        "execve",
        &[("path", Hex), ("arguments", Hex), ("variables", Hex)],
    ),
    (
        "execveat",
        &[
            ("fd", Number),
            ("path", Hex),
            ("arguments", Hex),
            ("variables", Hex),
            ("flags", Hex),
        ],
    ),
    (
        "mmap",
        &[
            ("address", Hex),
            ("length", Number),
            ("protection", Bits(PROTECTION)),
            ("flags", Bits(MAPPING)),
            ("fd", Number),
            ("offset", Number),
        ],
    ),
    ("mprotect", PROTECT),
    ("pkey_mprotect", PROTECT),
    ("memfd_create", &[("name", Hex), ("flags", Hex)]),
    (
        "ptrace",
        &[
            ("request", Number),
            ("task", Number),
            ("address", Hex),
            ("data", Hex),
        ],
    ),
    ("process_vm_readv", &[("task", Number)]),
    ("process_vm_writev", &[("task", Number)]),
    (
        "pidfd_getfd",
        &[("pidfd", Number), ("fd", Number), ("flags", Hex)],
    ),
    (
        "kcmp",
        &[("task", Number), ("task", Number), ("kind", Number)],
    ),
    (
        "bpf",
        &[("command", Number), ("attributes", Hex), ("size", Number)],
    ),
    ("keyctl", &[("operation", Number)]),
    ("personality", &[("persona", Hex)]),
    ("chmod", &[("path", Hex), ("mode", Mode)]),
    ("fchmod", &[("fd", Number), ("mode", Mode)]),
    ("fchmodat", &[("fd", Number), ("path", Hex), ("mode", Mode)]),
    (
        "fchmodat2",
        &[
            ("fd", Number),
            ("path", Hex),
            ("mode", Mode),
            ("flags", Hex),
        ],
    ),
    ("creat", &[("path", Hex), ("mode", Mode)]),
    ("open", &[("path", Hex), ("flags", Hex), ("mode", Mode)]),
    (
        "openat",
        &[
            ("fd", Number),
            ("path", Hex),
            ("flags", Hex),
            ("mode", Mode),
        ],
    ),
    ("mknod", &[("path", Hex), ("mode", Mode), ("device", Hex)]),
    (
        "mknodat",
        &[
            ("fd", Number),
            ("path", Hex),
            ("mode", Mode),
            ("device", Hex),
        ],
    ),
    (
        "sched_setscheduler",
        &[("task", Number), ("policy", Number), ("parameters", Hex)],
    ),
    (
        "prlimit64",
        &[
            ("task", Number),
            ("resource", Number),
            ("new", Hex),
            ("old", Hex),
        ],
    ),
    (
        "setpriority",
        &[("which", Number), ("who", Number), ("priority", Number)],
    ),
    (
        "ioprio_set",
        &[("which", Number), ("who", Number), ("priority", Hex)],
    ),
    ("prctl", &[("option", OneOf(PRCTL)), ("argument", Hex)]),
    (
        "sendto",
        &[
            ("fd", Number),
            ("data", Hex),
            ("length", Number),
            ("flags", Hex),
        ],
    ),
    (
        "sendmsg",
        &[("fd", Number), ("message", Hex), ("flags", Hex)],
    ),
    (
        "sendmmsg",
        &[
            ("fd", Number),
            ("messages", Hex),
            ("count", Number),
            ("flags", Hex),
        ],
    ),
    (
        "recvfrom",
        &[
            ("fd", Number),
            ("data", Hex),
            ("length", Number),
            ("flags", Hex),
        ],
    ),
    (
        "recvmsg",
        &[("fd", Number), ("message", Hex), ("flags", Hex)],
    ),
    (
        "recvmmsg",
        &[
            ("fd", Number),
            ("messages", Hex),
            ("count", Number),
            ("flags", Hex),
        ],
    ),
];

/// A call's name, and its arguments as `name=value`. A number without a name is
/// told as `syscall_N`.
#[must_use]
pub fn decode(architecture: Architecture, attempt: &Attempt) -> (String, Vec<String>) {
    let number = attempt.number;
    if attempt.audit != architecture.audit() {
        let name = format!("{:#x}:syscall_{number}", attempt.audit);
        return (name, raw(attempt));
    }
    if architecture == Architecture::X86_64 && number >= X32 {
        return (format!("x32:syscall_{}", number & !X32), raw(attempt));
    }
    let Some(call) = Call::numbered(number, architecture) else {
        return (format!("syscall_{number}"), raw(attempt));
    };
    let signature = SIGNATURES.iter().find(|(name, _)| *name == call.name);
    let arguments = match signature {
        Some((name, signature)) => signature
            .iter()
            .zip(attempt.arguments)
            .map(|((argument, form), value)| {
                let form = netlink(name, argument, attempt).unwrap_or(*form);
                format!("{argument}={}", form.write(value))
            })
            .collect(),
        None => raw(attempt),
    };
    (call.name.to_owned(), arguments)
}

/// The protocols of one family have names of their own.
fn netlink(call: &str, argument: &str, attempt: &Attempt) -> Option<Form> {
    let of_netlink = attempt.arguments[0] as u32 == AF_NETLINK;
    (call == "socket" && argument == "protocol" && of_netlink).then_some(OneOf(NETLINK))
}

fn raw(attempt: &Attempt) -> Vec<String> {
    attempt
        .arguments
        .iter()
        .map(|value| format!("{value:#x}"))
        .collect()
}

impl Form {
    fn write(self, value: u64) -> String {
        let low = value as u32;
        match self {
            // The kernel takes it as a signed 32-bit number, most often.
            Number if value >> 32 == 0 => (low as i32).to_string(),
            Number => (value as i64).to_string(),
            Hex => format!("{value:#x}"),
            Mode => format!("{:#o}", low & 0o7777 | low & FILE_TYPE),
            OneOf(list) => name_in(list, low).map_or_else(|| format!("{value:#x}"), str::to_owned),
            Kind(list, mask) => {
                let kind = low & mask;
                let kind = name_in(list, kind).map_or_else(|| format!("{kind:#x}"), str::to_owned);
                match low & !mask {
                    0 => kind,
                    rest => format!("{kind}|{rest:#x}"),
                }
            }
            Bits(list) => {
                let mut rest = value;
                let mut words: Vec<String> = Vec::new();
                for (bit, name) in list {
                    if low & bit != 0 {
                        words.push((*name).to_owned());
                        rest &= !u64::from(*bit);
                    }
                }
                if rest != 0 || words.is_empty() {
                    words.push(format!("{rest:#x}"));
                }
                words.join("|")
            }
        }
    }
}

fn name_in(list: &[Named], value: u32) -> Option<&'static str> {
    list.iter()
        .find(|(number, _)| *number == value)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(name: &str, arguments: [u64; 6]) -> String {
        let architecture = Architecture::X86_64;
        let number = Call::named(name)
            .and_then(|call| call.number(architecture))
            .unwrap();
        let attempt = Attempt {
            audit: architecture.audit(),
            number,
            arguments,
        };
        let (name, arguments) = decode(architecture, &attempt);
        format!("{name}({})", arguments.join(", "))
    }

    #[test]
    fn arguments_are_told_by_their_names() {
        assert_eq!(
            decoded("socket", [38, 0x80005, 0, 0, 0, 0]),
            "socket(family=AF_ALG, type=SOCK_SEQPACKET|0x80000, protocol=0)"
        );
        assert_eq!(
            decoded("socket", [16, 3, 9, 0, 0, 0]),
            "socket(family=AF_NETLINK, type=SOCK_RAW, protocol=NETLINK_AUDIT)"
        );
        assert_eq!(
            decoded("unshare", [0x1000_0200, 0, 0, 0, 0, 0]),
            "unshare(flags=CLONE_NEWUSER|0x200)"
        );
        assert_eq!(
            decoded("ioctl", [0, 0xdead_0000_5412, 7, 0, 0, 0]),
            "ioctl(fd=0, request=TIOCSTI, argument=0x7)"
        );
        assert_eq!(
            decoded("fchmodat", [(-100_i32) as u32 as u64, 1, 0o4755, 0, 0, 0]),
            "fchmodat(fd=-100, path=0x1, mode=0o4755)"
        );
        assert_eq!(
            decoded("bpf", [0; 6]),
            "bpf(command=0, attributes=0x0, size=0)"
        );
    }

    #[test]
    fn a_call_without_a_name_keeps_its_number() {
        let attempt = |audit, number| Attempt {
            audit,
            number,
            arguments: [1; 6],
        };
        let name = |attempt| decode(Architecture::X86_64, &attempt).0;
        assert_eq!(name(attempt(0xc000_003e, 999)), "syscall_999");
        assert_eq!(name(attempt(0xc000_003e, X32 | 39)), "x32:syscall_39");
        assert_eq!(name(attempt(0x4000_0003, 20)), "0x40000003:syscall_20");
    }

    #[test]
    fn every_signature_is_of_a_call() {
        for (name, signature) in SIGNATURES {
            assert!(Call::named(name).is_some(), "{name}");
            assert!(signature.len() <= 6);
        }
    }
}
