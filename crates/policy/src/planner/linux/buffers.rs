//! Memory that the kernel holds for tasks and that is nobody's own: what `strict` bounds of
//! it where no cgroup does, and to how much that comes.

use belljar_plan::{Bytes, Limit, Namespaces, Preset, plan::PlannedLimit};

use super::limits::inodes;
use crate::facts::HostFacts;

/// What a socket of TCP may hold each way, as much as others do by default; tcp(7).
const BUFFER: u64 = 212_992;

/// What a pipe holds, and one that a user has beyond 64 MiB of them; pipe(7).
const PIPE: u64 = 65_536;
const PIPES: u64 = 64 << 20;
const SMALL_PIPE: u64 = 8192;

/// What a file in memory takes beside its bytes.
const INODE: u64 = 1024;

/// Watches of inotify, and what each takes; inotify(7).
const WATCHES: u64 = 1024;
const WATCH: u64 = 1024;

/// Settings of the jar's own namespaces, `NAME=VALUE`.
pub(super) fn sysctls(namespaces: Namespaces, preset: Preset) -> Vec<Bytes> {
    if preset != Preset::Strict {
        return Vec::new();
    }
    let mut settings = Vec::new();
    if namespaces.network {
        // The kernel lets buffers of TCP grow by themselves, up to here; tcp(7).
        settings.push(format!("net/ipv4/tcp_rmem=4096 131072 {BUFFER}").into());
        settings.push(format!("net/ipv4/tcp_wmem=4096 16384 {BUFFER}").into());
    }
    if namespaces.user {
        // Counted for each user of a user namespace; namespaces(7), "/proc/sys/user".
        settings.push(format!("user/max_inotify_watches={WATCHES}").into());
        settings.push("user/max_inotify_instances=16".into());
    }
    settings
}

/// What all tasks of a `strict` jar can hold of memory that no sample sees, with these limits:
/// each descriptor a socket that is full both ways, or a pipe, whichever is more; scratch;
/// watches. None where one of the limits is missing.
pub(super) fn unseen(limits: &[PlannedLimit], facts: &HostFacts) -> Option<u64> {
    let hard = |limit: Limit| {
        let mut planned = limits.iter().filter(|planned| planned.limit == limit);
        planned.next().and_then(|planned| planned.hard)
    };
    let disk = hard(Limit::Disk)?;
    let open_files = hard(Limit::OpenFiles)?;
    let descriptors = open_files.saturating_mul(hard(Limit::Processes)?);
    // What lies in a socket that was closed on the way to another: as many as one
    // process may have; unix(7), ETOOMANYREFS.
    let sockets = descriptors.saturating_add(open_files);
    let pipes = (descriptors / 2).saturating_mul(PIPE);
    let pipes = pipes.min(PIPES.saturating_add((descriptors / 2).saturating_mul(SMALL_PIPE)));
    // The machine's default, which `strict` lets nobody raise.
    let buffer = BUFFER.max(facts.socket_buffer);
    let buffers = sockets.saturating_mul(2).saturating_mul(buffer).max(pipes);
    let all = buffers
        .saturating_add(disk)
        .saturating_add(inodes(disk).saturating_mul(INODE))
        .saturating_add(WATCHES * WATCH);
    // What is more than any machine has bounds nothing.
    (all < 1 << 50).then_some(all)
}
