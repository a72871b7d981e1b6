//! A scope that systemd is asked for, where the machine's cgroups are its own and it has
//! delegated none: the launcher is in it, and below it are jars; systemd.scope(5), and
//! systemd's own "Control Group APIs and Delegation".
//!
//! Only the launcher is moved, which is this process's own child: where the host is, its
//! service manager goes on seeing it. The scope ends with the last task in it, also where
//! this process is killed, since the launcher and every jar end with it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{net::UnixStream, time::timeout};
use zbus::{Connection, Variant, connection};

use super::{Place, controllers, left, place::is_manager_of_user};

/// A bus answers sooner.
const WITHIN: Duration = Duration::from_secs(5);

/// So does systemd, but where many others ask it on a machine that is busy.
const GIVEN_WITHIN: Duration = Duration::from_secs(10);

/// What the names of scopes begin and end with.
pub(super) const PREFIX: &str = "belljar-";
pub(super) const SUFFIX: &str = ".scope";

const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
pub(super) const SYSTEMD: &str = "org.freedesktop.systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";

/// Why there is no scope.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScopeError {
    #[error("nobody answers at {}", path.display())]
    NoBus { path: PathBuf, source: io::Error },
    #[error("{} is served by uid {uid}, who is neither root nor this user", path.display())]
    Stranger { path: PathBuf, uid: u32 },
    #[error("systemd is in another pid namespace than this process")]
    Elsewhere,
    #[error("the bus does not let this process in: {0}")]
    Shut(#[source] zbus::Error),
    #[error("systemd does not give one: {0}")]
    Refused(#[from] zbus::Error),
    #[error("nobody has answered at {} within {} s", path.display(), WITHIN.as_secs())]
    Silent { path: PathBuf },
    #[error("systemd has not given one within {} s", GIVEN_WITHIN.as_secs())]
    Late,
    #[error("the launcher has ended")]
    Ended,
    #[error("the bus is not there any more")]
    Gone,
}

/// What was learnt by asking; it stays so for this process.
enum State {
    Untried,
    Has(Vec<String>),
    Refused(String),
}

static STATE: Mutex<State> = Mutex::new(State::Untried);

fn state<T>(look: impl FnOnce(&mut State) -> T) -> T {
    look(&mut STATE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Who would be asked, and what its scopes can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manager {
    bus: PathBuf,
    /// By its name for this manager; its own default where there is none.
    slice: Option<String>,
    pub(super) controllers: Vec<String>,
}

/// The manager of this user's units, by a look that changes nothing and asks nobody. An error
/// is why it did not give one before.
pub(super) fn manager(place: &Place, uid: u32) -> Result<Option<Manager>, String> {
    let (Some(mount), Some(own)) = (&place.mount, &place.own) else {
        return Ok(None);
    };
    if !Path::new("/run/systemd/system").exists() {
        return Ok(None);
    }
    let below = own.strip_prefix(mount).unwrap_or(own);
    let found = match uid {
        0 => Manager {
            bus: SYSTEM_BUS.into(),
            slice: slice(of_machine(below)),
            controllers: controllers(mount),
        },
        uid => {
            let unit = format!("user.slice/user-{uid}.slice/user@{uid}.service");
            Manager {
                bus: format!("/run/user/{uid}/bus").into(),
                slice: below.strip_prefix(&unit).ok().and_then(slice),
                controllers: controllers(&mount.join(&unit)),
            }
        }
    };
    if !found.bus.exists() {
        return Ok(None);
    }
    state(|state| match state {
        State::Untried => Ok(Some(found)),
        State::Has(controllers) => Ok(Some(Manager {
            controllers: controllers.clone(),
            ..found
        })),
        State::Refused(why) => Err(why.clone()),
    })
}

/// What of a path is the machine's manager's: slices below a user's own are that one's.
fn of_machine(below: &Path) -> &Path {
    let mut above = below.ancestors();
    above
        .find(|at| is_manager_of_user(at))
        .and_then(Path::parent)
        .unwrap_or(below)
}

/// The nearest slice that a cgroup is in.
fn slice(below: &Path) -> Option<String> {
    below
        .ancestors()
        .filter_map(|at| at.file_name()?.to_str())
        .find(|name| name.ends_with(".slice"))
        .map(str::to_owned)
}

/// Has this child of this process put into a scope of its own; gives the scope's cgroup.
/// The child must not be waited for meanwhile, since its number would be another's.
pub(crate) async fn ask(child: u32) -> Result<PathBuf, ScopeError> {
    let place = super::place();
    let uid = rustix::process::geteuid().as_raw();
    let asked = async {
        let manager = manager(&place, uid).ok().flatten();
        let manager = manager.ok_or(ScopeError::Gone)?;
        let silent = ScopeError::Silent {
            path: manager.bus.clone(),
        };
        let connection = timeout(WITHIN, connect(&manager.bus, uid))
            .await
            .unwrap_or(Err(silent))?;
        let given = async {
            let name = start(&connection, &manager, child).await?;
            tracing::debug!(target: "belljar", scope = name, "asked systemd for a scope");
            wait_until_in(&place, child, &name).await
        };
        let scope = timeout(GIVEN_WITHIN, given)
            .await
            .unwrap_or(Err(ScopeError::Late))?;
        let mount = place.mount.clone().unwrap_or_default();
        // Nobody waits for that.
        tokio::spawn(async move {
            let stopped = timeout(WITHIN, left::stop(&connection, &mount)).await;
            if let Ok(Err(error)) = stopped {
                tracing::debug!(target: "belljar", %error, "scopes that were left are not looked for");
            }
        });
        Ok(scope)
    };
    let given = asked.await;
    match &given {
        Ok(scope) => state(|state| *state = State::Has(controllers(scope))),
        Err(ScopeError::Ended) => {}
        Err(error) => state(|state| {
            // The first cause stays.
            if !matches!(state, State::Refused(_)) {
                *state = State::Refused(words(error));
            }
        }),
    }
    given
}

/// An error with all that caused it, on one line.
fn words(error: &ScopeError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    // zbus tells its own causes itself.
    if let (ScopeError::NoBus { .. }, Some(source)) = (error, cause.take()) {
        words = format!("{words}: {source}");
    }
    words.replace('\n', " ")
}

async fn connect(path: &Path, uid: u32) -> Result<Connection, ScopeError> {
    let no_bus = |source| ScopeError::NoBus {
        path: path.to_owned(),
        source,
    };
    let stream = UnixStream::connect(path).await.map_err(no_bus)?;
    // Of who listens there; unix(7), SO_PEERCRED.
    let peer = stream.peer_cred().map_err(no_bus)?.uid();
    if peer != 0 && peer != uid {
        return Err(ScopeError::Stranger {
            path: path.to_owned(),
            uid: peer,
        });
    }
    let stream = stream.into_std().map_err(no_bus)?;
    let connection = connection::Builder::unix_stream(stream).build().await;
    let connection = connection.map_err(ScopeError::Shut)?;
    // By its number systemd would move somebody else, where it counts others.
    let name = connection.unique_name().map(ToString::to_string);
    let name = name.unwrap_or_default();
    let answer = connection
        .call_method(
            Some(BUS),
            "/org/freedesktop/DBus",
            Some(BUS),
            "GetConnectionUnixProcessID",
            &name,
        )
        .await?;
    let known: u32 = answer.body().deserialize()?;
    match known == std::process::id() {
        true => Ok(connection),
        false => Err(ScopeError::Elsewhere),
    }
}

/// Asks for it; org.freedesktop.systemd1(5), `StartTransientUnit`.
async fn start(
    connection: &Connection,
    manager: &Manager,
    child: u32,
) -> Result<String, ScopeError> {
    let random = super::super::random().map_err(zbus::Error::from)?;
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{PREFIX}{random}{SUFFIX}");
    let mut properties: BTreeMap<&str, Variant<'_>> = BTreeMap::from([
        ("Description", Variant::from("jars of Belljar")),
        ("PIDs", Variant::from(vec![child])),
        ("Delegate", Variant::from(true)),
        // One that failed would stay otherwise.
        ("CollectMode", Variant::from("inactive-or-failed")),
    ]);
    if let Some(slice) = &manager.slice {
        properties.insert("Slice", Variant::from(slice.as_str()));
    }
    let properties: Vec<(&str, Variant<'_>)> = properties.into_iter().collect();
    let others: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
    connection
        .call_method(
            Some(SYSTEMD),
            "/org/freedesktop/systemd1",
            Some(MANAGER),
            "StartTransientUnit",
            &(name.as_str(), "fail", properties, others),
        )
        .await?;
    Ok(name)
}

/// systemd answers before the scope is there.
async fn wait_until_in(place: &Place, child: u32, name: &str) -> Result<PathBuf, ScopeError> {
    let mount = place
        .mount
        .as_deref()
        .unwrap_or(Path::new("/sys/fs/cgroup"));
    loop {
        let text =
            fs::read_to_string(format!("/proc/{child}/cgroup")).map_err(|_| ScopeError::Ended)?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
        if let Some(path) = path
            && path.rsplit('/').next() == Some(name)
        {
            return Ok(mount.join(path));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_s_slice_is_the_machine_s_own() {
        let below = "user.slice/user-0.slice/user@0.service/app.slice/x.service";
        let slice = |below| slice(of_machine(Path::new(below)));
        assert_eq!(slice(below).as_deref(), Some("user-0.slice"));
        assert_eq!(
            slice("system.slice/x.service").as_deref(),
            Some("system.slice")
        );
    }

    #[test]
    fn a_scope_is_asked_for_in_the_nearest_slice() {
        for (below, nearest) in [
            ("system.slice/a.service", Some("system.slice")),
            (
                "user.slice/user-0.slice/session-1.scope",
                Some("user-0.slice"),
            ),
            ("app.slice/app-b.slice/b.service", Some("app-b.slice")),
            ("init.scope", None),
        ] {
            assert_eq!(slice(Path::new(below)).as_deref(), nearest, "{below}");
        }
    }
}
