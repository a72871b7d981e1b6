//! The rest of pid 1's life: it reaps, forwards signals, and ends with the
//! guest's main process, or with the launcher, and all in the jar with it.
//!
//! It keeps three descriptors and holds itself to nine system calls.

use belljar_plan::message::{Record, signal};
use linux_raw_sys::general as sys;
use rustix::io::Result;

use crate::arch::AUDIT_ARCH;
use crate::init::{CONTROL, LIFELINE};
use crate::{orphans, raw};

/// The signalfd: the lowest number that is free once all else is closed.
const SIGNALS: i32 = 2;

/// Watches over the jar until it ends.
///
/// Never inlined: the frames of those who called it are given back.
#[inline(never)]
pub(crate) fn watch(main: i32, adopts: bool) -> ! {
    // What can fail here fails only where the kernel is out of memory; then
    // the jar must not live on without its watcher.
    let mut end = None;
    let watched = prepare(adopts).and_then(|()| attend(main, adopts, &mut end));
    if adopts {
        // No pid namespace ends the rest with this process.
        orphans::end_all(&[]);
    }
    let code = match watched.and_then(|()| tell(end)) {
        Ok(()) => 0,
        Err(errno) => errno.raw_os_error(),
    };
    raw::exit_group(code)
}

/// Tells how the main process ended, last of all.
fn tell(end: Option<Record>) -> Result<()> {
    match end {
        Some(record) => raw::write(CONTROL, &record.to_bytes()).map(drop),
        None => Ok(()),
    }
}

/// Lets go of all that pid 1 needed only to set up.
fn prepare(adopts: bool) -> Result<()> {
    raw::close_from(SIGNALS as u32)?;
    let signals = raw::signalfd(raw::signal_set(raw::SIGCHLD))?;
    debug_assert_eq!(signals, SIGNALS);
    raw::set_name(c"jar")?;
    raw::forget_stack()?;
    // SAFETY: called by `watch`, which never returns and has only a number;
    // both have small frames, and panics do not unwind.
    unsafe { raw::forget_callers() }?;
    if adopts {
        // It has to look for what it adopted, in the machine's /proc.
        return Ok(());
    }
    raw::seccomp_filter(&filter(), false).map(drop)
}

/// So many ended children are reaped before the rest gets a look: a guest that
/// makes orphans without end must not keep a signal from being forwarded.
const REAPED_AT_ONCE: usize = 64;

fn attend(main: i32, adopts: bool, end: &mut Option<Record>) -> Result<()> {
    loop {
        let mut more = true;
        for _ in 0..REAPED_AT_ONCE {
            // Where it can't be told who has ended, nobody would hear of the main
            // process's end either.
            let Some(ended) = raw::wait_any()? else {
                more = false;
                break;
            };
            if ended.pid == main {
                *end = Some(Record {
                    code: ended.code,
                    status: ended.status,
                    user: raw::microseconds(ended.usage.ru_utime),
                    system: raw::microseconds(ended.usage.ru_stime),
                    peak: ended.usage.ru_maxrss as u64,
                });
                return Ok(());
            }
        }
        let mut ready = [
            raw::waiting_for(LIFELINE),
            raw::waiting_for(CONTROL),
            raw::waiting_for(SIGNALS),
        ];
        match more {
            true => raw::poll_now(&mut ready)?,
            false => raw::poll(&mut ready)?,
        };
        let [lifeline, control, signals] = ready.map(|ready| ready.revents != 0);
        if lifeline {
            return Ok(());
        }
        if control && !forward(main, adopts)? {
            return Ok(());
        }
        if signals {
            let _ = raw::read(SIGNALS, &mut [0; 128 * 4]);
        }
    }
}

/// Takes one signal from the launcher and sends it on; false when the launcher
/// is gone.
fn forward(main: i32, adopts: bool) -> Result<bool> {
    let mut packet = [0; 8];
    if raw::read(CONTROL, &mut packet)? != packet.len() {
        return Ok(false);
    }
    let [a, b, c, d, whom @ ..] = packet;
    let number = u32::from_le_bytes([a, b, c, d]);
    match u32::from_le_bytes(whom) {
        // Without a pid namespace these would be the machine's.
        signal::ALL if adopts => {}
        signal::ALL => {
            // That there is none but pid 1 is no error.
            let _ = raw::kill(-1, number);
        }
        // The guest's process leads a group of its own from its `session` step on.
        signal::GROUP if raw::kill(-main, number).is_ok() => {}
        _ => {
            let _ = raw::kill(main, number);
        }
    }
    Ok(true)
}

/// What pid 1 may still call.
const ALLOWED: [u32; 9] = [
    sys::__NR_ppoll,
    sys::__NR_restart_syscall,
    sys::__NR_waitid,
    sys::__NR_read,
    sys::__NR_write,
    sys::__NR_kill,
    sys::__NR_exit_group,
    sys::__NR_exit,
    sys::__NR_rt_sigreturn,
];

const INSTRUCTIONS: usize = 6 + ALLOWED.len();

/// A filter that allows [`ALLOWED`] and ends pid 1 for anything else; seccomp(2).
const fn filter() -> [u8; INSTRUCTIONS * 8] {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const KILL: u32 = 0x8000_0000; // SECCOMP_RET_KILL_PROCESS
    const ALLOW: u32 = 0x7fff_0000; // SECCOMP_RET_ALLOW
    let mut list = [(RETURN, 0, 0, KILL); INSTRUCTIONS];
    list[0] = (LOAD, 0, 0, 4); // seccomp_data.arch
    list[1] = (EQUAL, 1, 0, AUDIT_ARCH);
    list[2] = (RETURN, 0, 0, KILL);
    list[3] = (LOAD, 0, 0, 0); // seccomp_data.nr
    let mut at = 0;
    while at < ALLOWED.len() {
        // Over the rest of the list and the final kill, to the allow.
        let over = (ALLOWED.len() - at) as u8;
        list[4 + at] = (EQUAL, over, 0, ALLOWED[at]);
        at += 1;
    }
    list[5 + ALLOWED.len()] = (RETURN, 0, 0, ALLOW);
    let mut bytes = [0; INSTRUCTIONS * 8];
    let mut at = 0;
    while at < INSTRUCTIONS {
        let (code, if_true, if_false, k) = list[at];
        let code: [u8; 2] = code.to_ne_bytes();
        let k: [u8; 4] = k.to_ne_bytes();
        bytes[at * 8] = code[0];
        bytes[at * 8 + 1] = code[1];
        bytes[at * 8 + 2] = if_true;
        bytes[at * 8 + 3] = if_false;
        let mut byte = 0;
        while byte < 4 {
            bytes[at * 8 + 4 + byte] = k[byte];
            byte += 1;
        }
        at += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer, for the few instructions that are used.
    fn verdict(arch: u32, number: u32) -> u32 {
        let program = filter();
        let at = |index: usize| &program[index * 8..index * 8 + 8];
        let (mut index, mut loaded) = (0, 0);
        loop {
            let [c0, c1, if_true, if_false, k @ ..] = at(index) else {
                panic!("an instruction has eight bytes");
            };
            let k = u32::from_ne_bytes(k.try_into().unwrap());
            index += 1;
            match u16::from_ne_bytes([*c0, *c1]) {
                0x20 => loaded = if k == 4 { arch } else { number },
                0x15 => index += usize::from(if loaded == k { *if_true } else { *if_false }),
                0x06 => return k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn pid_1_may_call_what_is_listed_and_nothing_else() {
        for number in 0..600 {
            let expected = if ALLOWED.contains(&number) {
                0x7fff_0000
            } else {
                0x8000_0000
            };
            assert_eq!(verdict(AUDIT_ARCH, number), expected, "call {number}");
        }
        assert_eq!(verdict(AUDIT_ARCH ^ 1, sys::__NR_read), 0x8000_0000);
    }
}
