//! What is read of a plugin's directory: every byte once, into an image that
//! nobody can change, and nothing through a link.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt as _,
            fs::{PermissionsExt as _, symlink},
        },
    },
    path::{Path, PathBuf},
    process::Command,
};

use belljar::{
    Policy,
    policy::verified::{ExecutableKind, Plugin, PluginEntryKind, Subject},
    verify::{Ask, EntryProblem, Image, VerifyError, verify},
};

const MANIFEST: &str = "[plugin]\nname = \"t\"\nversion = \"1.0.0\"\nentry = \"run\"\n";

struct Room(tempfile::TempDir);

impl Room {
    fn new() -> Self {
        let room = Self(tempfile::tempdir().unwrap());
        room.file("belljar.toml", MANIFEST);
        room.program("run", "#!/bin/sh\necho\n");
        room
    }

    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), text).unwrap();
    }

    fn program(&self, name: &str, text: &str) {
        self.file(name, text);
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(0o4755)).unwrap();
    }

    fn read(&self) -> Result<(Plugin, Image), VerifyError> {
        read(self.0.path())
    }

    fn refused(&self) -> VerifyError {
        self.read().map(|(plugin, _)| plugin).unwrap_err()
    }
}

fn read(path: &Path) -> Result<(Plugin, Image), VerifyError> {
    let ask = Ask::Plugin {
        path: path.to_owned(),
        arguments: Vec::new(),
    };
    let (verified, image) = verify(&ask, &Policy::default())?;
    match verified.subject {
        Subject::Plugin(plugin) => Ok((*plugin, image.expect("a plugin has an image"))),
        Subject::Program(_) => unreachable!("a plugin was asked for"),
    }
}

fn bytes(image: Image) -> Vec<u8> {
    let mut file = File::from(OwnedFd::from(image));
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn the_image_holds_every_file_and_its_hash_is_stable() {
    let room = Room::new();
    room.file("lib/data", "some data");
    room.file("lib/deep/er/empty", "");
    let (first, image) = room.read().unwrap();
    let (second, _) = room.read().unwrap();
    assert_eq!(first, second);
    let bytes = bytes(image);
    let mut expected = Vec::new();
    for entry in &first.files {
        if let PluginEntryKind::File {
            offset,
            length,
            executable,
        } = entry.kind
        {
            let content = fs::read(room.at(&entry.path)).unwrap();
            let (from, to) = (offset as usize, (offset + length) as usize);
            assert_eq!(&bytes[from..to], content, "{}", entry.path);
            assert_eq!(executable, entry.path == "run");
            expected.extend(content);
        }
    }
    assert_eq!(bytes, expected);
    let output = Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            child.stdin.take().unwrap().write_all(&bytes)?;
            child.wait_with_output()
        })
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout)
            .split(' ')
            .next()
            .unwrap(),
        first.image
    );
    let paths: Vec<&str> = first
        .files
        .iter()
        .map(|entry| entry.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "belljar.toml",
            "lib",
            "lib/data",
            "lib/deep",
            "lib/deep/er",
            "lib/deep/er/empty",
            "run"
        ]
    );

    room.file("lib/data", "some dat4");
    assert_ne!(room.read().unwrap().0.image, first.image);
}

#[test]
fn the_image_can_not_be_changed_any_more() {
    let (_, image) = Room::new().read().unwrap();
    let mut file = File::from(OwnedFd::from(image));
    file.rewind().unwrap();
    assert!(file.write_all(b"x").is_err());
    assert!(file.set_len(1).is_err());
    assert!(file.set_len(1 << 20).is_err());
}

#[test]
fn a_manifest_may_be_named_itself_and_may_be_json() {
    let room = Room::new();
    assert_eq!(
        read(&room.at("belljar.toml"))
            .unwrap()
            .0
            .manifest
            .plugin
            .name,
        "t"
    );
    fs::remove_file(room.at("belljar.toml")).unwrap();
    room.file(
        "belljar.json",
        r#"{"plugin": {"name": "j", "version": "1.0.0", "entry": "run"}}"#,
    );
    assert_eq!(room.read().unwrap().0.manifest.plugin.name, "j");
    fs::remove_file(room.at("belljar.json")).unwrap();
    assert!(matches!(room.refused(), VerifyError::NoManifest { .. }));
    assert!(matches!(
        read(&room.at("nothing")),
        Err(VerifyError::OpenPlugin { .. })
    ));
}

#[test]
fn links_are_copied_as_they_are_and_never_followed_out() {
    let room = Room::new();
    symlink("/etc/shadow", room.at("out")).unwrap();
    symlink("nowhere", room.at("dangling")).unwrap();
    symlink("lib", room.at("inside")).unwrap();
    room.file("lib/x", "x");
    let (plugin, image) = room.read().unwrap();
    let link = |name: &str| {
        let entry = plugin
            .files
            .iter()
            .find(|entry| entry.path == name)
            .unwrap();
        match &entry.kind {
            PluginEntryKind::Link { target } => target.escaped(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(link("out"), "/etc/shadow");
    assert_eq!(link("dangling"), "nowhere");
    assert_eq!(link("inside"), "lib");
    let files: u64 = plugin
        .files
        .iter()
        .filter_map(|entry| match entry.kind {
            PluginEntryKind::File { length, .. } => Some(length),
            _ => None,
        })
        .sum();
    assert_eq!(image.length(), files);
}

#[test]
fn an_entry_is_a_file_of_the_plugin() {
    let room = Room::new();
    let refused = |entry: &str| {
        room.file(
            "belljar.toml",
            &MANIFEST.replace("\"run\"", &format!("{entry:?}")),
        );
        match room.refused() {
            VerifyError::Entry { problem, .. } => problem,
            other => panic!("{entry}: {other}"),
        }
    };
    symlink("/bin/sh", room.at("shell")).unwrap();
    symlink("../../../../bin/sh", room.at("climbs")).unwrap();
    fs::create_dir(room.at("directory")).unwrap();
    assert_eq!(refused("absent"), EntryProblem::Missing);
    assert_eq!(refused("shell"), EntryProblem::Leaves);
    assert_eq!(refused("climbs"), EntryProblem::Leaves);
    assert_eq!(refused("directory"), EntryProblem::NotFile);

    symlink("directory/../run", room.at("good")).unwrap();
    room.file("belljar.toml", &MANIFEST.replace("\"run\"", "\"good\""));
    let (plugin, _) = room.read().unwrap();
    assert!(matches!(
        plugin.entry.unwrap().kind,
        ExecutableKind::Script { .. }
    ));

    fs::set_permissions(room.at("run"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = room.refused();
    assert!(error.to_string().contains("chmod +x"), "{error}");
}

#[test]
fn cyclic_links_are_one_clear_error() {
    let room = Room::new();
    fs::create_dir(room.at("a")).unwrap();
    symlink("../b", room.at("a/loop")).unwrap();
    symlink("a/loop", room.at("b")).unwrap();
    let error = room.refused();
    assert!(matches!(error, VerifyError::Circle { .. }), "{error}");
    assert!(error.to_string().contains("a/loop"), "{error}");
}

#[test]
fn what_is_neither_file_directory_nor_link_is_refused() {
    let room = Room::new();
    assert!(
        Command::new("mkfifo")
            .arg(room.at("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let error = room.refused();
    assert!(
        matches!(error, VerifyError::FileKind { kind: "pipe", .. }),
        "{error}"
    );
    fs::remove_file(room.at("pipe")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(room.at("socket")).unwrap();
    let error = room.refused();
    assert!(
        matches!(error, VerifyError::FileKind { kind: "socket", .. }),
        "{error}"
    );
    fs::remove_file(room.at("socket")).unwrap();

    fs::remove_file(room.at("belljar.toml")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(room.at("belljar.toml"))
            .status()
            .unwrap()
            .success()
    );
    assert!(matches!(
        room.refused(),
        VerifyError::FileKind { kind: "pipe", .. }
    ));
}

#[test]
fn a_name_that_is_not_utf8_is_refused_and_shown_escaped() {
    let room = Room::new();
    fs::write(room.at(std::ffi::OsStr::from_bytes(b"\xff\x1b[2J")), "x").unwrap();
    let error = room.refused();
    assert!(matches!(error, VerifyError::NotUtf8 { .. }), "{error}");
    assert!(!error.to_string().contains('\x1b'));
}

#[test]
fn a_manifest_that_is_no_manifest_is_named() {
    let room = Room::new();
    for (text, words) in [
        ("[plugin]\nname = \"t\"\n", "belljar.toml"),
        ("[plugin\n", "belljar.toml"),
        ("", "belljar.toml"),
    ] {
        room.file("belljar.toml", text);
        let error = room.refused();
        assert!(matches!(error, VerifyError::Manifest(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    fs::write(room.at("belljar.toml"), b"\xff\xfe").unwrap();
    assert!(matches!(
        room.refused(),
        VerifyError::ManifestNotText { .. }
    ));
    fs::write(room.at("belljar.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(matches!(
        room.refused(),
        VerifyError::ManifestTooLong { .. }
    ));
    fs::remove_file(room.at("belljar.toml")).unwrap();
    fs::create_dir(room.at("belljar.toml")).unwrap();
    assert!(matches!(room.refused(), VerifyError::FileKind { .. }));
}

#[test]
fn a_plugin_that_is_too_large_is_refused_before_it_is_all_read() {
    let room = Room::new();
    File::create(room.at("holes"))
        .unwrap()
        .set_len(600 << 20)
        .unwrap();
    assert!(matches!(
        room.refused(),
        VerifyError::TooLarge { unit: "bytes", .. }
    ));
    fs::remove_file(room.at("holes")).unwrap();
    let deep = (0..70).map(|_| "d").collect::<Vec<_>>().join("/");
    fs::create_dir_all(room.at(deep)).unwrap();
    assert!(matches!(
        room.refused(),
        VerifyError::TooLarge { limit: 64, .. }
    ));
}

#[test]
fn a_library_beside_its_program_is_found_in_the_image() {
    if Command::new("cc").arg("--version").output().is_err() {
        return;
    }
    let room = Room::new();
    room.file("l.c", "int f(void) { return 7; }");
    room.file("m.c", "int f(void); int main(void) { return f(); }");
    fs::create_dir(room.at("lib")).unwrap();
    let cc = |arguments: &[&str]| {
        assert!(
            Command::new("cc")
                .current_dir(room.at("."))
                .args(arguments)
                .status()
                .unwrap()
                .success()
        );
    };
    cc(&["-shared", "-fPIC", "-o", "lib/libseven.so", "l.c"]);
    cc(&[
        "-o",
        "native",
        "m.c",
        "-Llib",
        "-lseven",
        "-Wl,-rpath,$ORIGIN/lib",
    ]);
    room.file("belljar.toml", &MANIFEST.replace("\"run\"", "\"native\""));
    let elf = |plugin: Plugin| match plugin.entry.unwrap().kind {
        ExecutableKind::Elf {
            libraries, missing, ..
        } => (libraries, missing),
        other => panic!("{other:?}"),
    };
    let (libraries, missing) = elf(room.read().unwrap().0);
    assert_eq!(missing, Vec::<String>::new());
    assert!(
        libraries
            .iter()
            .any(|library| library.path.name() == Some("libc.so.6"))
    );
    assert!(
        libraries
            .iter()
            .all(|library| library.path.name() != Some("libseven.so"))
    );

    fs::remove_file(room.at("lib/libseven.so")).unwrap();
    assert_eq!(elf(room.read().unwrap().0).1, ["libseven.so"]);
}

#[test]
fn nothing_is_left_behind() {
    let descriptors = || {
        fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().contains("nothing-is-left"))
            .count()
    };
    let room = Room(
        tempfile::Builder::new()
            .prefix("nothing-is-left")
            .tempdir()
            .unwrap(),
    );
    room.file("belljar.toml", MANIFEST);
    room.program("run", "#!/bin/sh\n");
    let listing = |room: &Room| fs::read_dir(room.at(".")).unwrap().count();
    let before = listing(&room);
    let read = room.read().unwrap();
    assert_eq!(descriptors(), 0);
    drop(read);
    symlink("run2", room.at("run2")).unwrap();
    let _ = room.refused();
    assert_eq!(descriptors(), 0);
    assert_eq!(listing(&room), before + 1);
}
