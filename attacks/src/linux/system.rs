//! Attacks on the machine as a whole. Each call is made so that it does
//! nothing even where nothing stops it: with a wrong magic number, without a
//! file, for what does not exist.

use crate::{
    Verdict,
    kernel::{NOWHERE, probe},
};

/// `load_kernel`: another kernel, of more segments than there may be.
pub(crate) fn load_kernel(_: &[String]) -> Verdict {
    Verdict::of_calls([
        probe("kexec_load", libc::SYS_kexec_load, &[0, 1000, NOWHERE, 0]),
        probe(
            "kexec_file_load",
            libc::SYS_kexec_file_load,
            &[-1, -1, 0, 0, 0],
        ),
    ])
}

/// `load_module`: code for the kernel, from nowhere.
pub(crate) fn load_module(_: &[String]) -> Verdict {
    Verdict::of_calls([
        probe(
            "init_module",
            libc::SYS_init_module,
            &[NOWHERE, 64, NOWHERE],
        ),
        probe("finit_module", libc::SYS_finit_module, &[-1, NOWHERE, 0]),
        probe("delete_module", libc::SYS_delete_module, &[NOWHERE, 0]),
    ])
}

/// `restart`: reboot(2) with a magic number that is none.
pub(crate) fn restart(_: &[String]) -> Verdict {
    Verdict::of_calls([probe("reboot", libc::SYS_reboot, &[1, 2, 3, 0])])
}

/// `change_swap`: swap from and to a file without a name.
pub(crate) fn change_swap(_: &[String]) -> Verdict {
    const NO_FLAGS: i64 = 0x0100_0000;
    Verdict::of_calls([
        probe("swapon", libc::SYS_swapon, &[NOWHERE, NO_FLAGS]),
        probe("swapoff", libc::SYS_swapoff, &[NOWHERE]),
    ])
}

/// `account_processes`: a log of every task's end, to a file without a name.
pub(crate) fn account_processes(_: &[String]) -> Verdict {
    Verdict::of_calls([probe("acct", libc::SYS_acct, &[NOWHERE])])
}

/// `set_quota`: quotas of a kind that does not exist.
pub(crate) fn set_quota(_: &[String]) -> Verdict {
    const NO_KIND: i64 = 0xff;
    Verdict::of_calls([
        probe("quotactl", libc::SYS_quotactl, &[NO_KIND, 0, 0, 0]),
        probe("quotactl_fd", libc::SYS_quotactl_fd, &[-1, NO_KIND, 0, 0]),
    ])
}
