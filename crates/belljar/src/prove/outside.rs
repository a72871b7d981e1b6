//! What the probes try to reach: things of the machine that prove makes itself,
//! outside of all that is granted, and takes away again.

use std::{
    ffi::OsStr,
    io,
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
};

use belljar_plan::{
    Bytes, Limit, Plan, Preset, Source, Step,
    probe::{Answer, Came, Probe},
};

use super::{
    ProveError,
    prober::{Plain, has_own_root},
};
use crate::{
    launch::Engine,
    sys::{
        self, Directory,
        prober::{PROBER, Prober, inheritable, is_open_to_all, listen_by_name},
    },
};

/// All of it.
#[derive(Debug)]
pub(super) struct Outside {
    prober: Prober,
    /// A private directory, and in it a file and a socket.
    place: Place,
    /// It lies in something that is granted, so that what is in it may be seen.
    pub(super) granted: bool,
    /// A word that nothing else has, in the command line of a process.
    pub(super) word: String,
    /// The port of a server of the machine.
    pub(super) port: u16,
    /// The id of a segment of shared memory; none where none can be made.
    pub(super) segment: Option<u64>,
    companion: Plain,
    _listeners: (TcpListener, UnixListener, UnixListener),
    _inheritable: Vec<OwnedFd>,
}

/// What the private directories' names begin with.
const PREFIX: &str = "belljar-prove-";

/// So many descriptors are open that a program inherits.
const INHERITABLE: usize = 3;

impl Outside {
    pub(super) async fn make(plan: &Plan, engine: &Engine) -> Result<Self, ProveError> {
        let failed = ProveError::outside;
        // Before any program is started: the launcher would inherit them too.
        let inheritable = (0..INHERITABLE)
            .map(|_| inheritable())
            .collect::<Result<_, _>>()
            .map_err(failed("open what a program inherits"))?;
        let name = random_name().map_err(failed("draw a random name"))?;
        let prober = Prober::new().map_err(failed("make the prober"))?;
        let (base, granted) = base(plan);
        candidates()
            .iter()
            .chain([&base])
            .for_each(|place| sweep(place));
        let place = Place::make(&base).map_err(failed("make a directory for what is tried"))?;
        let unix = place.listen().map_err(failed("bind a unix socket"))?;
        let by_name = listen_by_name(&name).map_err(failed("bind an abstract unix socket"))?;
        let tcp =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("listen on 127.0.0.1"))?;
        let port = tcp
            .local_addr()
            .map_err(failed("listen on 127.0.0.1"))?
            .port();
        let probes = [
            Probe::Word {
                word: name.as_bytes(),
            },
            Probe::HoldSegment {},
            Probe::Wait {},
        ];
        let probes = probes.map(|probe| probe.encode());
        let (companion, answers) = Plain::start(prober.command(), &probes, engine)
            .await
            .map_err(failed("start the prober without a jar"))?;
        let segment = match answers.get(1).copied().flatten() {
            Some(Answer {
                came: Came::Done,
                value,
                ..
            }) => Some(value),
            _ => None,
        };
        Ok(Self {
            prober,
            place,
            granted,
            word: name,
            port,
            segment,
            companion,
            _listeners: (tcp, unix, by_name),
            _inheritable: inheritable,
        })
    }

    /// A file that anybody may read whom nothing keeps from it.
    pub(super) fn canary(&self) -> Bytes {
        self.place.path_of("canary")
    }

    /// A socket that anybody may connect to.
    pub(super) fn socket(&self) -> Bytes {
        self.place.path_of("socket")
    }

    /// A file that is not there yet.
    pub(super) fn scratch(&self) -> Bytes {
        self.place.path_of("scratch")
    }

    /// The same, one for each of those that are tried at the same time.
    pub(super) fn scratch_for(&self, limit: Limit) -> Bytes {
        self.place.path_of(limit.word())
    }

    /// The prober, for a jar that has no root of its own.
    pub(super) fn prober_file(&self) -> Bytes {
        self.place.path_of("prober")
    }

    /// A process of this user's, outside.
    pub(super) fn task(&self) -> u64 {
        u64::from(self.companion.pid())
    }

    /// Tries probes without a jar, in a process of this user's.
    pub(super) async fn try_plainly(
        &self,
        probes: &[Bytes],
        engine: &Engine,
    ) -> Result<Vec<Option<Answer>>, ProveError> {
        let mut command = self.prober.command();
        command.current_dir("/");
        Plain::start(command, probes, engine)
            .await
            .map(|(_, answers)| answers)
            .map_err(ProveError::outside("start the prober without a jar"))
    }
}

fn random_name() -> io::Result<String> {
    let random = sys::random()?;
    let word: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{PREFIX}{word}"))
}

/// A directory that is removed with all that is in it, by its maker or, where that
/// was killed, by whoever proves next.
#[derive(Debug)]
struct Place {
    base: PathBuf,
    parent: Directory,
    name: String,
    held: Directory,
}

impl Place {
    /// Only whoever starts prove may write in it, and everybody may look.
    fn make(base: &Path) -> io::Result<Self> {
        // Where there is no better place (`base`), others may put something in the place
        // of what is made; it is held all the same, and nothing else is removed.
        let parent = Directory::open(base)?;
        // Another prove may take a new one for one that was left, before it is held.
        let mut made = Err(io::ErrorKind::AlreadyExists.into());
        for _ in 0..8 {
            let name = random_name()?;
            made = parent.make_held_in(&name).map(|held| (name, held));
            match &made {
                Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => {}
                _ => break,
            }
        }
        let (name, held) = made?;
        let place = Self {
            base: base.to_owned(),
            parent,
            name,
            held,
        };
        place
            .held
            .make_file("canary", b"This can be read.\n", 0o666)?;
        place.held.make_file("prober", PROBER, 0o755)?;
        place.held.permit(0o755)?;
        Ok(place)
    }

    /// Listens at a socket in it. Who may connect is not to be decided by who owns it.
    fn listen(&self) -> io::Result<UnixListener> {
        let socket = UnixListener::bind(self.held.path_through("socket"))?;
        self.held.permit_in("socket", 0o666)?;
        Ok(socket)
    }

    fn path_of(&self, name: &str) -> Bytes {
        let path = self.base.join(&self.name).join(name);
        Bytes(path.into_os_string().into_encoded_bytes())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What can't be removed stays, with a name that tells whose it is.
        self.parent.remove_held(&self.name, &self.held);
    }
}

/// Removes what a prove of this user's that was killed left in a directory.
fn sweep(base: &Path) {
    let Ok(parent) = Directory::open(base) else {
        return;
    };
    for name in parent.names().unwrap_or_default() {
        if name.starts_with(PREFIX)
            && let Some(left) = parent.abandoned(&name)
        {
            parent.remove_held(&name, &left);
        }
    }
}

/// Places of the machine that a jar shows at all.
fn shown(plan: &Plan) -> impl Iterator<Item = Bytes> + '_ {
    let own_root = has_own_root(plan);
    let of_steps = plan.steps.iter().filter_map(move |step| match step {
        Step::Bind {
            source: Source::Path { path, .. },
            ..
        } => Some(path.clone()),
        // It is the machine's path then.
        Step::AllowPath { path, .. } if !own_root => Some(Bytes([b"/", &path.0[..]].concat())),
        _ => None,
    });
    of_steps.chain(plan.slots.iter().map(|slot| slot.path.clone()))
}

/// Where what is tried may lie.
fn candidates() -> Vec<PathBuf> {
    let usual = ["/tmp", "/var/tmp", "/dev/shm"].map(PathBuf::from);
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    std::iter::once(std::env::temp_dir())
        .chain(usual)
        .chain(runtime)
        .filter_map(|path| path.canonicalize().ok())
        .filter(|path| Directory::that_keeps(path).is_ok())
        .collect()
}

/// A directory for what is tried: outside of all that is granted, and where
/// nothing but the jar keeps anybody from it. Whether it is granted.
pub(super) fn base(plan: &Plan) -> (PathBuf, bool) {
    let candidates = candidates();
    let is_granted = |path: &PathBuf| {
        let within = |place: &Bytes| path.starts_with(OsStr::from_bytes(&place.0));
        plan.grants
            .iter()
            .any(|grant| within(&grant.path) || within(&grant.at))
            // In minimal all is shown, and what may be written is granted.
            || (plan.preset != Preset::Minimal && shown(plan).any(|place| within(&place)))
    };
    let is_writable = |path: &&PathBuf| sys::prober::can_make_files(path);
    let free = |path: &&PathBuf| is_writable(path) && !is_granted(path);
    let open = |path: &&PathBuf| path.to_str().is_some_and(is_open_to_all);
    let mut best = candidates.iter().filter(free);
    match best.clone().find(open).or_else(|| best.next()) {
        Some(path) => (path.clone(), false),
        None => (
            candidates
                .first()
                .cloned()
                .unwrap_or_else(std::env::temp_dir),
            true,
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn left_in(base: &Path) -> Vec<String> {
        let entries = fs::read_dir(base).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn what_a_killed_prove_left_is_swept_and_what_is_in_use_or_another_s_is_not() {
        let room = tempfile::tempdir().unwrap();
        let base = room.path().canonicalize().unwrap();
        let in_use = Place::make(&base).unwrap();
        let killed = Place::make(&base).unwrap();
        let _socket = killed.listen().unwrap();
        let name = killed.name.clone();
        sweep(&base);
        assert_eq!(left_in(&base).len(), 2);
        // A process that is killed removes nothing, and all that it held is closed.
        let mut killed = std::mem::ManuallyDrop::new(killed);
        killed.held = Directory::that_keeps(&base).unwrap();
        fs::write(base.join(PREFIX), "a file").unwrap();
        // Another test's child has a copy of the lock until it execs.
        for _ in 0..1000 {
            sweep(&base);
            if !base.join(&name).exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let mut left = left_in(&base);
        left.sort();
        assert_eq!(left, [PREFIX.to_owned(), in_use.name.clone()]);
        assert!(!base.join(name).exists());
        drop(in_use);
        assert_eq!(left_in(&base), [PREFIX]);
    }
}
