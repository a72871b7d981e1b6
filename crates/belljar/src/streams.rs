//! The guest's stdin, stdout and stderr: pipes that Belljar makes, or a
//! pseudo-terminal of the jar's own. No descriptor of the host's enters a jar.

mod handles;
mod key;
mod meter;
mod relay;

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
};

pub use self::handles::{GuestStderr, GuestStdin, GuestStdout, Terminal};
pub(crate) use self::{
    handles::{PipeReader, register_reader, register_terminal, register_writer},
    key::Key,
    meter::{Meter, Stream},
    relay::{Hands, Relays, discard},
};
use crate::sys;

/// Where one of the guest's streams leads on the host's side.
#[derive(Debug, Default)]
pub struct Stdio(Kind);

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Null,
    Piped,
    Relay(OwnedFd),
    Inherit,
}

impl Stdio {
    /// Nothing to read; what is written is thrown away and not counted.
    #[must_use]
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// A handle of [`Running`](crate::Running) reads or writes it.
    #[must_use]
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }

    /// A thread of Belljar's copies between this descriptor and the guest. The
    /// descriptor itself never enters the jar.
    #[must_use]
    pub fn relay(descriptor: OwnedFd) -> Self {
        Self(Kind::Relay(descriptor))
    }

    /// The same with the host's own stdin, stdout or stderr.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }
}

/// The three of a launch.
#[derive(Debug, Default)]
pub(crate) struct Three {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

/// Both ends of the three streams, made for one attempt at a launch.
#[derive(Debug)]
pub(crate) struct Ends {
    /// For the guest: stdin, stdout, stderr.
    pub(crate) guest: [OwnedFd; 3],
    /// Belljar's ends; none where nothing leads to one.
    pub(crate) ours: [Option<OwnedFd>; 3],
}

impl Three {
    /// Makes the pipes. With a terminal they carry nothing.
    pub(crate) fn make(&self, terminal: bool, owner: Option<u32>) -> io::Result<Ends> {
        let (read, write) = sys::pipe()?;
        let wants = |stdio: &Stdio| !terminal && !matches!(stdio.0, Kind::Null);
        let stdin = wants(&self.stdin).then_some(write);
        let output = |stdio: &Stdio| -> io::Result<(OwnedFd, Option<OwnedFd>)> {
            if wants(stdio) {
                let (read, write) = sys::pipe()?;
                Ok((write, Some(read)))
            } else {
                Ok((sys::nowhere()?, None))
            }
        };
        let (stdout, out) = output(&self.stdout)?;
        let (stderr, err) = output(&self.stderr)?;
        if let Some(id) = owner {
            sys::give(&read, id, id)?;
            for (fd, ours) in [(&stdout, &out), (&stderr, &err)] {
                // The null device stays the machine's.
                if ours.is_some() {
                    sys::give(fd, id, id)?;
                }
            }
        }
        Ok(Ends {
            guest: [read, stdout, stderr],
            ours: [stdin, out, err],
        })
    }

    /// The threads that [`Three::connect`] takes at most.
    pub(crate) fn hands(&self, terminal: bool) -> io::Result<Hands> {
        let relayed = |stdio: &&Stdio| matches!(stdio.0, Kind::Relay(_) | Kind::Inherit);
        let all = [&self.stdin, &self.stdout, &self.stderr];
        let count = match terminal {
            // What is written to it is read, whether or not somebody wants it.
            true => 2,
            false => all.into_iter().filter(relayed).count(),
        };
        Hands::ready(count)
    }

    /// Connects Belljar's ends, once the program runs: handles for what is
    /// piped, threads for what is relayed.
    pub(crate) fn connect(
        self,
        hands: Hands,
        ours: [Option<OwnedFd>; 3],
        terminal: Option<OwnedFd>,
        meter: &Arc<Meter>,
        runtime: &tokio::runtime::Handle,
    ) -> io::Result<Connected> {
        let mut connected = Connected {
            relays: Relays::with(hands),
            ..Connected::default()
        };
        if let Some(master) = terminal {
            return self.connect_terminal(connected, master, meter, runtime);
        }
        let [stdin, stdout, stderr] = ours;
        if let Some(ours) = stdin {
            match self.stdin.target(0)? {
                // Nothing comes from there, and the end of the input says so.
                Target::Descriptor(source) if sys::is_null_device(&source) => drop(ours),
                Target::Descriptor(source) => connected.relays.feed(source, ours)?,
                Target::Handle => {
                    connected.stdin = Some(GuestStdin::new(register_writer(runtime, ours)?));
                }
                Target::Nothing => drop(ours),
            }
        }
        let outputs = [
            (stdout, self.stdout, Stream::Stdout),
            (stderr, self.stderr, Stream::Stderr),
        ];
        for (ours, stdio, stream) in outputs {
            let Some(ours) = ours else { continue };
            let number = if stream == Stream::Stdout { 1 } else { 2 };
            match stdio.target(number)? {
                Target::Descriptor(target) if !sys::is_null_device(&target) => {
                    connected.relays.drain(ours, target, meter, stream)?;
                }
                Target::Handle => {
                    let reader = register_reader(runtime, ours, meter, stream)?;
                    connected.piped.push(Arc::clone(&reader));
                    match stream {
                        Stream::Stdout => connected.stdout = Some(GuestStdout::new(reader)),
                        Stream::Stderr => connected.stderr = Some(GuestStderr::new(reader)),
                    }
                }
                Target::Descriptor(_) | Target::Nothing => {
                    let ours = register_reader(runtime, ours, meter, stream)?;
                    connected.relays.waste(runtime, ours, stream);
                }
            }
        }
        Ok(connected)
    }

    fn connect_terminal(
        self,
        mut connected: Connected,
        master: OwnedFd,
        meter: &Arc<Meter>,
        runtime: &tokio::runtime::Handle,
    ) -> io::Result<Connected> {
        let resizer = master.try_clone()?;
        let key = Arc::new(Key::default());
        let mut handle = None;
        match self.stdin.target(0)? {
            Target::Descriptor(source) => {
                let (master, key) = (master.try_clone()?, Arc::clone(&key));
                connected.relays.feed_terminal(source, master, key)?;
            }
            Target::Handle => handle = Some(()),
            Target::Nothing => {}
        }
        match self.stdout.target(1)? {
            Target::Descriptor(target) => {
                connected
                    .relays
                    .drain(master, target, meter, Stream::Stdout)?;
            }
            Target::Handle => {
                let reader = register_terminal(runtime, master, meter)?;
                connected.piped.push(Arc::clone(&reader));
                connected.terminal = Some(Terminal::new(Some(reader), resizer, key));
                return Ok(connected);
            }
            Target::Nothing => {
                connected
                    .relays
                    .drain(master, sys::nowhere()?, meter, Stream::Stdout)?;
            }
        }
        let writer = match handle {
            Some(()) => Some(register_terminal(runtime, resizer.try_clone()?, meter)?),
            None => None,
        };
        connected.terminal = Some(Terminal::new(writer, resizer, key));
        Ok(connected)
    }
}

/// What a stream leads to, when it is time to connect it.
enum Target {
    Descriptor(OwnedFd),
    Handle,
    Nothing,
}

impl Stdio {
    fn target(self, number: u8) -> io::Result<Target> {
        Ok(match self.0 {
            Kind::Null => Target::Nothing,
            Kind::Piped => Target::Handle,
            Kind::Relay(descriptor) => Target::Descriptor(descriptor),
            // A host may run with any of the three closed.
            Kind::Inherit => sys::own_stream(number).map_or(Target::Nothing, Target::Descriptor),
        })
    }
}

/// The host's side of a running jar's streams.
#[derive(Debug, Default)]
pub(crate) struct Connected {
    pub(crate) stdin: Option<GuestStdin>,
    pub(crate) stdout: Option<GuestStdout>,
    pub(crate) stderr: Option<GuestStderr>,
    pub(crate) terminal: Option<Terminal>,
    pub(crate) relays: Relays,
    pub(crate) piped: Vec<PipeReader>,
}

/// An end that is closed when its owner says so, whoever else looks at it.
pub(crate) type Shared<T> = Arc<Mutex<Option<T>>>;
