//! The launcher: takes the host's requests, makes jars, tells how they ended.
//!
//! It waits on three kinds of things at once: the host's socket, the host's
//! pidfd (a host that forks keeps the socket open, so its end of file proves
//! nothing) and the pidfd of each child.

use core::mem::MaybeUninit;

use belljar_plan::message::{Event, NO_STEP, Record, Request, descriptors, event, request};
use rustix::event::Timespec;
use rustix::fd::{AsFd as _, AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd};
use rustix::io::{Errno, Result};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Resource, Signal, geteuid, getrlimit};

use crate::ahead::Ahead;
use crate::calls::{self, epoll, madvise, mmap_anonymous, pidfd_send_signal, pipe_with, setrlimit};
use crate::channel::{self, Descriptors, Wait};
use crate::clone::{self, Cgroup, Ids, Kind};
use crate::init::LIFELINE;
use crate::jars::{Entry, Table, Use};
use crate::prepare::{self, Child, Failure};
use crate::raw;
use crate::receipts::task_packet;

/// Descriptor 0: the socket to the host.
const HOST: i32 = 0;

/// What an epoll event is about: an index into the table, or one of these.
const TOKEN_SOCKET: u64 = u64::MAX;
const TOKEN_HOST: u64 = u64::MAX - 1;
const TOKEN_MOUNTS: u64 = u64::MAX - 2;

/// Everything that the launcher knows. It lies in a mapping that children see
/// as zeroes, so that no jar inherits another's numbers.
struct Launcher {
    epoll: OwnedFd,
    /// The host's pidfd, once it said hello.
    host: Option<OwnedFd>,
    table: Table,
    /// The launch whose descriptors are still coming.
    pending: Option<Request>,
    descriptors: Descriptors,
}

/// Serves the host until it is gone.
///
/// # Errors
/// What the launcher cannot do without. All jars end with it.
///
/// Never inlined: its frame is the first that a pid 1 gives back.
#[inline(never)]
pub(crate) fn serve() -> Result<()> {
    take_over()?;
    let launcher = begin()?;
    launcher.watch(host(), TOKEN_SOCKET)?;
    // The table was put together there; each child would copy it.
    raw::forget_stack()?;
    loop {
        let mut ready = [MaybeUninit::<epoll::Event>::uninit(); 32];
        let patience = launcher.let_go_of_old();
        let (ready, _) = match epoll::wait(&launcher.epoll, &mut ready, patience.as_ref()) {
            Err(Errno::INTR) => continue,
            waited => waited?,
        };
        // First, for to be told is to have it forgotten: a launch in the same
        // round must not find the child.
        if ready.iter().any(|event| event.data.u64() == TOKEN_MOUNTS) {
            launcher.mounts_changed();
        }
        for event in ready {
            match event.data.u64() {
                TOKEN_HOST => return Ok(()),
                TOKEN_SOCKET => launcher.requested()?,
                TOKEN_MOUNTS => {}
                index => launcher.child_ended(index as usize)?,
            }
        }
    }
}

/// Knows nothing yet.
///
/// Never inlined: what is put together on the stack would stay there, for each
/// child to copy.
#[inline(never)]
fn begin() -> Result<&'static mut Launcher> {
    wiped_on_fork(Launcher {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        host: None,
        table: Table::new(),
        pending: None,
        descriptors: Descriptors::new(),
    })
}

/// Makes the process fit to be the ancestor of jars.
fn take_over() -> Result<()> {
    // Every signal stays blocked, here and in each pid 1: the terminal's must
    // not end the launcher, and a pid 1 takes what it needs by signalfd(2).
    // Dispositions are the defaults from here on; nothing changes them again.
    raw::block_signals(u64::MAX)?;
    raw::default_signals()?;
    // Fails only for a leader of a group, which has a session of its own then.
    let _ = calls::setsid();
    calls::set_parent_process_death_signal(Some(Signal::KILL))?;
    if geteuid().is_root() {
        // A user's launcher must stay dumpable: else /proc/PID/uid_map of its
        // children belongs to root and the maps can't be written.
        raw::prctl(raw::PR_SET_DUMPABLE, 0, 0)?;
    }
    raw::ordinary_priority()?;
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    // The lifeline: children keep the read end, only the launcher the other.
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    raw::dup_onto(read.as_raw_fd(), LIFELINE)?;
    let _held_for_life = write.into_raw_fd();
    Ok(())
}

/// Moves a value to where forked children find zeroes; madvise(2).
fn wiped_on_fork<T>(value: T) -> Result<&'static mut T> {
    // SAFETY: a new anonymous mapping, at an address that the kernel chooses.
    let place = unsafe {
        mmap_anonymous(
            core::ptr::null_mut(),
            size_of::<T>(),
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }?;
    // SAFETY: the mapping just made; children never read it.
    unsafe { madvise(place, size_of::<T>(), Advice::LinuxWipeOnFork) }?;
    let place = place.cast::<T>();
    // SAFETY: page-aligned, large enough and writable.
    unsafe { place.write(value) };
    // SAFETY: initialised, never unmapped, and referred to by nothing else.
    Ok(unsafe { &mut *place })
}

fn host() -> BorrowedFd<'static> {
    // SAFETY: descriptor 0 is the host's socket and stays open.
    unsafe { BorrowedFd::borrow_raw(HOST) }
}

impl Launcher {
    fn watch(&self, fd: BorrowedFd<'_>, token: u64) -> Result<()> {
        let data = epoll::EventData::new_u64(token);
        epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)
    }

    /// Takes one packet from the host.
    fn requested(&mut self) -> Result<()> {
        let mut bytes = [0; Request::LENGTH];
        let length = match channel::receive(host(), &mut bytes, &mut self.descriptors, Wait::No) {
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        // An empty packet is the end of file: the host let go of us.
        let request = bytes.get(..length).and_then(Request::from_bytes);
        let Some(request) = request else {
            return Err(Errno::PROTO);
        };
        if request.kind != request::MORE
            && let Some(cut_short) = self.pending.take()
        {
            // What came with this packet lies behind the launch's own.
            self.descriptors.clear();
            self.tell_failed(cut_short.jar, (NO_STEP, Errno::PROTO))?;
        }
        match request.kind {
            request::HELLO => {
                let host = self.descriptors.take(0).ok_or(Errno::PROTO)?;
                self.descriptors.clear();
                self.watch(host.as_fd(), TOKEN_HOST)?;
                self.host = Some(host);
                Ok(())
            }
            request::LAUNCH | request::MORE => {
                let launch = match (request.kind, self.pending.take()) {
                    (request::LAUNCH, _) => request,
                    (_, Some(launch)) => launch,
                    (_, None) => {
                        // What is left of a launch that already failed.
                        self.descriptors.clear();
                        return Ok(());
                    }
                };
                let missing = self.descriptors.count() < launch.descriptors as usize;
                if missing && !self.descriptors.overflowed() {
                    self.pending = Some(launch);
                    return Ok(());
                }
                let result = self.launch(&launch);
                self.descriptors.clear();
                match result {
                    Ok(()) => Ok(()),
                    Err(failure) => {
                        // A child that was made for it may not be wanted again.
                        if let Some(unused) = self.table.parked() {
                            self.table.discard(unused);
                        }
                        self.tell_failed(launch.jar, failure)
                    }
                }
            }
            request::SIGNAL => {
                self.descriptors.clear();
                self.forward(&request);
                Ok(())
            }
            request::END => {
                self.descriptors.clear();
                if let Some(entry) = self.table.jar(request.jar) {
                    // One that is gone already is told of as any other.
                    let _ = pidfd_send_signal(&entry.made.pidfd, Signal::KILL);
                }
                Ok(())
            }
            request::PARK => {
                // With a cgroup a child is made and no more: it is of one launch alone.
                let cgroup = match request.carries {
                    descriptors::CGROUP => self.descriptors.take(0),
                    _ => None,
                };
                let ahead = Ahead::take(&request, &mut self.descriptors);
                self.descriptors.clear();
                match ahead.and_then(|ahead| self.park(&request, cgroup.as_ref(), ahead)) {
                    Ok(()) => Ok(()),
                    Err(errno) => self.tell_failed(request.jar, (NO_STEP, errno)),
                }
            }
            _ => Err(Errno::PROTO),
        }
    }

    /// Runs the launcher's part of a plan and hands the rest to a child.
    fn launch(&mut self, launch: &Request) -> core::result::Result<(), Failure> {
        let whole = |errno| (NO_STEP, errno);
        let index = self.table.free().map_err(whole)?;
        let mut prepared = prepare::prepare(launch, &mut self.descriptors, &mut self.table)?;
        let made = prepared.child.made();
        let packet = task_packet(&prepared.task, &prepared.receipts).map_err(whole)?;
        channel::send_all(
            made.control.as_fd(),
            packet.bytes(),
            &[1],
            &self.descriptors,
        )
        .map_err(whole)?;
        let data = epoll::EventData::new_u64(index as u64);
        match prepared.child {
            Child::Parked(_) => {
                epoll::modify(&self.epoll, &made.pidfd, data, epoll::EventFlags::IN)
            }
            Child::Fresh(_) => epoll::add(&self.epoll, &made.pidfd, data, epoll::EventFlags::IN),
        }
        .map_err(whole)?;
        let started = Event {
            kind: event::STARTED,
            jar: launch.jar,
            pid: made.pid,
            started: made.started,
            ..Event::default()
        };
        let pidfd = [made.pidfd.as_fd()];
        channel::send(host(), &started.to_bytes(), &pidfd, Wait::Yes).map_err(whole)?;
        let purpose = Use::Jar {
            number: launch.jar,
            lease: prepared.lease.take(),
        };
        let made = match prepared.child {
            Child::Fresh(made) | Child::Parked(made) => made,
        };
        self.table.put(index, Entry { made, purpose });
        Ok(())
    }

    /// Makes the child that waits for the next launch that fits.
    fn park(
        &mut self,
        request: &Request,
        cgroup: Option<&OwnedFd>,
        ahead: Option<Ahead>,
    ) -> Result<()> {
        let bits = u8::try_from(request.value).map_err(|_| Errno::INVAL)?;
        let namespaces = belljar_plan::Namespaces::from_bits(bits).ok_or(Errno::INVAL)?;
        let ids = Ids {
            uid: request.uid,
            gid: request.gid,
            machine_uid: request.machine_uid,
            machine_gid: request.machine_gid,
            deny_setgroups: request.flag == 1,
        };
        let kind = Kind {
            namespaces,
            ids: namespaces.user.then_some(ids),
            cgroup: cgroup
                .map(|cgroup| Cgroup::of(cgroup.as_fd()))
                .transpose()?,
        };
        if let Some(old) = self.table.parked() {
            let serves = |old: &Entry| match (&old.purpose, &ahead) {
                // A guess, which is worth less than what a launch has taught.
                (Use::Parked(Some(_)), None) => true,
                (Use::Parked(None), None) => old.made.kind == kind,
                (Use::Parked(Some(known)), Some(ahead)) => {
                    old.made.kind == kind && known.equals(ahead).unwrap_or(false)
                }
                _ => false,
            };
            if self.table.at(old).is_some_and(serves) {
                return Ok(());
            }
            self.table.discard(old);
        }
        let index = self.table.free()?;
        if let Some(ahead) = &ahead {
            // Before the child copies the table, so that no change is missed.
            let data = epoll::EventData::new_u64(TOKEN_MOUNTS);
            epoll::add(&self.epoll, &ahead.mounts, data, epoll::EventFlags::PRI)?;
        }
        let made = clone::make(kind, cgroup.map(OwnedFd::as_fd))?;
        let mapped = match made.kind.ids {
            Some(ids) => clone::map_ids(made.pid, ids),
            None => Ok(()),
        };
        mapped.and_then(|()| self.watch(made.pidfd.as_fd(), index as u64))?;
        if let Some(ahead) = &ahead {
            ahead.begin(&made)?;
        }
        let entry = Entry {
            made,
            purpose: Use::Parked(ahead),
        };
        self.table.put(index, entry);
        Ok(())
    }

    /// Ends a parked child that shows what was mounted before, and keeps it in use.
    fn mounts_changed(&mut self) {
        if let Some(index) = self.table.parked()
            && matches!(
                self.table.at(index),
                Some(Entry {
                    purpose: Use::Parked(Some(_)),
                    ..
                })
            )
        {
            self.table.discard(index);
        }
    }

    /// Ends a parked child that has grown too old to be used; gives how long
    /// there is to wait for the next one's time.
    fn let_go_of_old(&mut self) -> Option<Timespec> {
        let index = self.table.parked()?;
        let Use::Parked(Some(ahead)) = &self.table.at(index)?.purpose else {
            return None;
        };
        let left = ahead.left();
        if left == 0 {
            self.table.discard(index);
            return None;
        }
        Some(Timespec {
            tv_sec: (left / 1_000_000_000 + 1) as i64,
            tv_nsec: 0,
        })
    }

    /// Hands a signal on to pid 1, which sends it to the main process. A jar
    /// that is gone, or a pid 1 that takes no more, needs no signal.
    fn forward(&self, request: &Request) {
        if let Some(entry) = self.table.jar(request.jar) {
            let mut packet = [0; 8];
            let (signal, group) = packet.split_at_mut(4);
            signal.copy_from_slice(&request.value.to_le_bytes());
            group.copy_from_slice(&request.flag.to_le_bytes());
            let _ = channel::send(entry.made.control.as_fd(), &packet, &[], Wait::No);
        }
    }

    /// A child is gone, and with a pid 1 all that was in its jar.
    fn child_ended(&mut self, index: usize) -> Result<()> {
        let Some(entry) = self.table.at(index) else {
            return Ok(());
        };
        let Some((status, usage)) = raw::wait4(entry.made.pid)? else {
            return Ok(());
        };
        let Some(mut entry) = self.table.take(index) else {
            return Ok(());
        };
        entry.made.reaped = true;
        self.table.holder = None;
        // A descriptor leaves the epoll set only when its last copy is closed,
        // and the host has one.
        let _ = epoll::delete(&self.epoll, &entry.made.pidfd);
        let Use::Jar { number, lease } = entry.purpose else {
            return Ok(());
        };
        drop(lease);
        if !entry.made.kind.namespaces.pid {
            // What it had adopted is the launcher's now.
            self.table.end_orphans();
        }
        let mut bytes = [0; Record::LENGTH];
        let mut receive = || {
            let flags = rustix::net::RecvFlags::DONTWAIT;
            calls::recv(&entry.made.control, &mut bytes[..], flags)
        };
        let received = match receive() {
            // Once, where it ended with signals that it had not read: what it said last is
            // behind that; unix(7).
            Err(Errno::CONNRESET) => receive(),
            other => other,
        };
        let main = received
            .ok()
            .filter(|(length, _)| *length == Record::LENGTH)
            .and_then(|_| Record::from_bytes(&bytes));
        let record = main.unwrap_or_default();
        let ended = Event {
            kind: event::ENDED,
            jar: number,
            pid: entry.made.pid,
            has_main: u32::from(main.is_some()),
            main_code: record.code,
            main_status: record.status,
            main_user: record.user,
            main_system: record.system,
            main_peak: record.peak,
            init_status: status,
            init_user: raw::microseconds(usage.ru_utime),
            init_system: raw::microseconds(usage.ru_stime),
            init_peak: usage.ru_maxrss as u64,
            init_minor_faults: usage.ru_minflt as u64,
            init_major_faults: usage.ru_majflt as u64,
            init_blocks_read: usage.ru_inblock as u64,
            init_blocks_written: usage.ru_oublock as u64,
            init_voluntary: usage.ru_nvcsw as u64,
            init_involuntary: usage.ru_nivcsw as u64,
            started: entry.made.started,
            ..Event::default()
        };
        channel::send(host(), &ended.to_bytes(), &[], Wait::Yes)
    }

    fn tell_failed(&self, jar: u64, (step, errno): Failure) -> Result<()> {
        let failed = Event {
            kind: event::FAILED,
            jar,
            step: u32::from(step),
            errno: errno.raw_os_error(),
            ..Event::default()
        };
        channel::send(host(), &failed.to_bytes(), &[], Wait::Yes)
    }
}
