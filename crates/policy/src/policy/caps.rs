//! Linux's capabilities by name; capabilities(7), `linux/capability.h`.

use super::{PolicyError, Said};
use crate::parse::{Amount, At, hint, nearest, tame};

/// By number.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Capabilities as bits, from names (`CAP_NET_RAW`, `net_raw`) and numbers.
pub(super) fn read(list: At<Vec<At<Amount>>>) -> Result<Said<u64>, PolicyError> {
    let mut value = 0;
    for At {
        value: Amount(word),
        origin,
    } in list.value
    {
        let bit = bit(&word).ok_or_else(|| {
            let full = full(&word);
            PolicyError::Value {
                origin,
                reason: format!(
                    "unknown Linux capability `{}`{}",
                    tame(&word),
                    hint(nearest(&full, NAMES).as_deref(), &[])
                ),
            }
        })?;
        value |= 1_u64 << bit;
    }
    Ok(Said {
        value,
        origin: list.origin,
    })
}

/// The names of capabilities given as bits, for people.
pub(crate) fn names(bits: u64) -> Vec<String> {
    (0..64)
        .filter(|bit| bits & (1_u64 << bit) != 0)
        .map(|bit| {
            NAMES
                .get(bit)
                .map_or_else(|| bit.to_string(), |name| (*name).to_owned())
        })
        .collect()
}

fn bit(word: &str) -> Option<usize> {
    match word.parse::<usize>() {
        Ok(number) => (number < 64).then_some(number),
        Err(_) => {
            let full = full(word);
            NAMES.iter().position(|name| *name == full)
        }
    }
}

fn full(word: &str) -> String {
    let upper = word.to_ascii_uppercase();
    if upper.starts_with("CAP_") {
        upper
    } else {
        format!("CAP_{upper}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_dress_and_numbers_mean_their_bits() {
        for (word, expected) in [
            ("CAP_CHOWN", Some(0)),
            ("net_raw", Some(13)),
            ("cap_checkpoint_restore", Some(40)),
            ("63", Some(63)),
            ("64", None),
            ("nothing", None),
        ] {
            assert_eq!(bit(word), expected, "{word}");
        }
        assert_eq!(names(1 << 13 | 1 << 50), ["CAP_NET_RAW", "50"]);
    }
}
