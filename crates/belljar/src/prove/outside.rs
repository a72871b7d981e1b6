//! What the probes try to reach: things of the machine that prove makes itself,
//! outside of all that is granted, and takes away again.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt as _,
            fs::{OpenOptionsExt as _, PermissionsExt as _},
            net::UnixListener,
        },
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
        self,
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
        let random = sys::random().map_err(failed("draw a random name"))?;
        let word: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("belljar-prove-{word}");
        let prober = Prober::new().map_err(failed("make the prober"))?;
        let (base, granted) = base(plan);
        let place =
            Place::make(base.join(&name)).map_err(failed("make a directory for what is tried"))?;
        let unix = UnixListener::bind(place.socket()).map_err(failed("bind a unix socket"))?;
        // Who may connect is not to be decided by who owns it.
        fs::set_permissions(place.socket(), fs::Permissions::from_mode(0o666))
            .map_err(failed("open a unix socket to all"))?;
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
        bytes(&self.place.0.join("canary"))
    }

    /// A socket that anybody may connect to.
    pub(super) fn socket(&self) -> Bytes {
        bytes(&self.place.socket())
    }

    /// A file that is not there yet.
    pub(super) fn scratch(&self) -> Bytes {
        self.scratch_named("scratch")
    }

    /// The same, one for each of those that are tried at the same time.
    pub(super) fn scratch_for(&self, limit: Limit) -> Bytes {
        self.scratch_named(limit.word())
    }

    fn scratch_named(&self, name: &str) -> Bytes {
        bytes(&self.place.0.join(name))
    }

    /// The prober, for a jar that has no root of its own.
    pub(super) fn prober_file(&self) -> Bytes {
        bytes(&self.place.0.join("prober"))
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

fn bytes(path: &Path) -> Bytes {
    Bytes(path.as_os_str().as_bytes().to_vec())
}

/// A directory that is removed with all that is in it.
#[derive(Debug)]
struct Place(PathBuf);

impl Place {
    /// Only whoever starts prove may write in it, and everybody may look.
    fn make(path: PathBuf) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let place = Self(path);
        let mut create = fs::OpenOptions::new();
        let create = create.write(true).create_new(true);
        let mut file = |name: &str, bytes: &[u8], mode| {
            let path = place.0.join(name);
            create.mode(mode).open(&path)?.write_all(bytes)?;
            // Whatever the umask is.
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        };
        file("canary", b"This can be read.\n", 0o666)?;
        file("prober", PROBER, 0o755)?;
        fs::set_permissions(&place.0, fs::Permissions::from_mode(0o755))?;
        Ok(place)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody else could put anything there. What can't be removed stays, with a
        // name that tells whose it is.
        let _ = fs::remove_dir_all(&self.0);
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

/// Nobody else could put another directory in the place of one that is made there.
fn is_nobody_else_s(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    const STICKY: u32 = 0o1000;
    fs::metadata(path).is_ok_and(|about| {
        let mine = sys::is_mine(about.uid());
        let of_root = about.uid() == 0;
        (mine || of_root) && (about.mode() & 0o022 == 0 || about.mode() & STICKY != 0)
    })
}

/// A directory for what is tried: outside of all that is granted, and where
/// nothing but the jar keeps anybody from it. Whether it is granted.
pub(super) fn base(plan: &Plan) -> (PathBuf, bool) {
    let said = std::env::temp_dir();
    let usual = ["/tmp", "/var/tmp", "/dev/shm"].map(PathBuf::from);
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let all = std::iter::once(said.clone()).chain(usual).chain(runtime);
    let candidates: Vec<PathBuf> = all
        .filter_map(|path| path.canonicalize().ok())
        .filter(|path| is_nobody_else_s(path))
        .collect();
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
        None => (candidates.first().cloned().unwrap_or(said), true),
    }
}
