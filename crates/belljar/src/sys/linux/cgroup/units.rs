//! Whether a unit of a user's own systemd is delegated. The machine's systemd marks the cgroup
//! of what it delegates; a user's does not (its `cgroup_xattr_apply`), and the manager is
//! asked for nothing before a launch: so the unit's files tell, which nobody but the user and
//! root writes. `Delegate=` cannot be changed while a unit runs.

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf};

use super::{super::facts::read_proc, place::is_manager_of_user};

/// Whether the unit that a cgroup is of, or lies below, is delegated by its files.
pub(super) fn is_delegated(at: &Path) -> bool {
    unit(at).is_some_and(|(user, unit)| says(&unit, &directories(user)))
}

/// The unit of a user's own manager, and the user.
fn unit(at: &Path) -> Option<(u32, String)> {
    let manager = at.ancestors().find(|at| is_manager_of_user(at))?;
    let user = manager.file_name()?.to_str()?;
    let user = user.strip_prefix("user@")?.strip_suffix(".service")?;
    let mut below = at.strip_prefix(manager).ok()?.iter();
    let name = below.find_map(|name| {
        let name = name.to_str()?;
        (!name.ends_with(".slice")).then_some(name)
    })?;
    // It stands before a name that the kernel might take for one of its own.
    let name = name.strip_prefix('_').unwrap_or(name);
    let is_unit = name.ends_with(".service") || name.ends_with(".scope");
    Some((user.parse().ok()?, name.to_owned())).filter(|_| is_unit)
}

/// Where a user's manager looks, the first before those after it; systemd.unit(5), "User
/// Unit Search Path".
fn directories(user: u32) -> Vec<PathBuf> {
    let run = PathBuf::from(format!("/run/user/{user}/systemd"));
    let home = std::env::home_dir().unwrap_or_default();
    [
        home.join(".config/systemd/user.control"),
        run.join("user.control"),
        run.join("transient"),
        run.join("generator.early"),
        home.join(".config/systemd/user"),
        "/etc/xdg/systemd/user".into(),
        "/etc/systemd/user".into(),
        run.join("user"),
        "/run/systemd/user".into(),
        run.join("generator"),
        home.join(".local/share/systemd/user"),
        "/usr/local/share/systemd/user".into(),
        "/usr/share/systemd/user".into(),
        "/usr/local/lib/systemd/user".into(),
        "/usr/lib/systemd/user".into(),
        run.join("generator.late"),
    ]
    .into()
}

/// What the last line says: that of the unit's file, or of a file beside it that adds to it.
fn says(unit: &str, directories: &[PathBuf]) -> bool {
    let template = template(unit);
    let names = [Some(unit), template.as_deref()];
    let names = || names.into_iter().flatten();
    let read = |path: PathBuf| read_proc(path.to_str()?);
    let own = names().find_map(|name| {
        let mut directories = directories.iter();
        directories.find_map(|directory| read(directory.join(name)))
    });
    // By their names, wherever they are; of one name the first counts.
    let mut added = BTreeMap::new();
    for directory in names().flat_map(|name| {
        let directories = directories.iter();
        directories.map(move |directory| directory.join(format!("{name}.d")))
    }) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|end| end == "conf") {
                added.entry(entry.file_name()).or_insert(entry.path());
            }
        }
    }
    let texts = own.into_iter().chain(added.into_values().filter_map(read));
    texts.filter_map(|text| line(&text)).next_back() == Some(true)
}

/// `a@b.service` is made of `a@.service`, where it has no file of its own.
fn template(unit: &str) -> Option<String> {
    let (name, rest) = unit.split_once('@')?;
    let (_, kind) = rest.rsplit_once('.')?;
    Some(format!("{name}@.{kind}"))
}

/// What the last line of a file says of it; systemd.resource-control(5), `Delegate=`: a
/// boolean, or a list of controllers, which may be empty.
fn line(text: &str) -> Option<bool> {
    let mut section = "";
    let mut said = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        if let Some((key, value)) = line.split_once('=')
            && key.trim_end() == "Delegate"
            && matches!(section, "[Service]" | "[Scope]")
        {
            let no = ["0", "no", "n", "false", "f", "off"];
            said = Some(!no.contains(&value.trim().to_lowercase().as_str()));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_found_below_the_manager_of_its_user() {
        let slice = "/sys/fs/cgroup/user.slice/user-1000.slice";
        let manager = format!("{slice}/user@1000.service");
        let unit = |path: &str| unit(Path::new(path)).map(|(user, unit)| format!("{user} {unit}"));
        for (below, found) in [
            ("app.slice/run-1.scope", Some("1000 run-1.scope")),
            (
                "app.slice/a-b.slice/b.service/sub/c",
                Some("1000 b.service"),
            ),
            ("_memory.service", Some("1000 memory.service")),
            // That is the manager itself.
            ("init.scope", Some("1000 init.scope")),
            ("app.slice", None),
            ("", None),
        ] {
            assert_eq!(unit(&format!("{manager}/{below}")).as_deref(), found);
        }
        assert_eq!(unit(&format!("{slice}/session-1.scope")), None);
    }

    #[test]
    fn the_last_line_of_a_unit_s_files_says_whether_it_is_delegated() {
        let room = tempfile::tempdir().unwrap();
        let directories = ["first", "second"].map(|name| room.path().join(name));
        let write = |path: &str, text: &str| {
            let path = room.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let says = |unit| says(unit, &directories);
        assert!(!says("a.service"));
        write("second/a.service", "[Service]\nDelegate = memory pids\n");
        assert!(says("a.service"));
        write("second/a.service.d/1.conf", "[Service]\nDelegate=off\n");
        assert!(!says("a.service"));
        write("first/a.service.d/2.conf", "[Service]\nDelegate=\n");
        assert!(says("a.service"));
        // Of the same name the first counts, and of the unit's own file.
        write("first/a.service.d/1.conf", "");
        write("second/a.service.d/2.conf", "[Service]\nDelegate=no\n");
        assert!(says("a.service"));
        write("first/b@.service", "[Service]\nDelegate=yes\n");
        assert!(says("b@1.service") && !says("b.service"));
        write("first/b@2.service", "");
        assert!(!says("b@2.service"));
    }

    #[test]
    fn only_the_setting_itself_is_taken_for_it() {
        let line = |text: &str| line(text);
        assert_eq!(line("[Scope]\n#Delegate=yes\nDelegateSubgroup=a\n"), None);
        assert_eq!(line("[Unit]\nDelegate=yes\nDescription=[Scope]\n"), None);
        assert_eq!(line("[Scope]\nDelegate=no\nDelegate=True\n"), Some(true));
        assert_eq!(line("Delegate=yes"), None);
    }
}
