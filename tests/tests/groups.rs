//! Named groups: real programs that fail without one and work with it.
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use belljar_tests::{Ended, Jar, Need, both_presets, is_root, jar, need};
use tempfile::TempDir;

/// Somebody's home, with what groups stand for and what they must not.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a directory"));
        for (name, text) in [
            (".gitconfig", "[user]\nname = Somebody\n"),
            (".git-credentials", "https://me:secret@example.com\n"),
            (".config/git/ignore", "*.swp\n"),
            (
                ".cargo/credentials.toml",
                "[registry]\ntoken = \"secret\"\n",
            ),
            (".npmrc", "//example.com/:_authToken=secret\n"),
        ] {
            let path = home.path(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            fs::write(path, text).expect("a file");
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A program of somebody's own in it.
    fn program(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(&path, text).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    /// A jar started by whoever lives here.
    fn jar(&self) -> Jar {
        jar()
            .caller_env("HOME", self.0.path())
            .caller_env("PATH", "/usr/local/bin:/usr/bin:/bin")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// What it printed, of a run that came to a good end.
fn said(ended: Ended) -> String {
    let ended = ended.clean();
    assert!(ended.status.success(), "{ended:#?}");
    ended.stdout.trim_end().to_owned()
}

fn git() -> bool {
    Path::new("/usr/local/bin/git").exists() || need(Need::Program("git"))
}

#[test]
fn git_knows_its_user_by_the_group_and_never_the_credentials() {
    if !git() {
        return;
    }
    both_presets(|preset| {
        let home = Home::new();
        let ask = ["git", "config", "--global", "user.name"];
        let without = home.jar().preset(preset).program(ask).end();
        assert!(!without.status.success(), "{without:#?}");
        let with = home
            .jar()
            .preset(preset)
            .flags(["--read", "group:git"])
            .program(ask)
            .end();
        assert_eq!(said(with), "Somebody");
        let look = home
            .jar()
            .preset(preset)
            .flags(["--read", "group:git"])
            .guest(
                "look",
                [
                    "/home/plugin/.config/git/ignore",
                    "/home/plugin/.git-credentials",
                    text(&home.path(".git-credentials")),
                ],
            )
            .end()
            .clean();
        assert_eq!(look.line("/home/plugin/.config/git/ignore: "), "ro file 6");
        assert_eq!(
            look.line("/home/plugin/.git-credentials: "),
            "entity not found"
        );
        let own = format!("{}: ", home.path(".git-credentials").display());
        assert_eq!(look.line(&own), "entity not found");
    });
}

#[test]
fn settings_that_are_a_link_are_granted_and_a_link_to_credentials_is_not() {
    let home = Home::new();
    fs::rename(home.path(".gitconfig"), home.path("settings")).expect("moved");
    symlink("settings", home.path(".gitconfig")).expect("a link");
    symlink("../../.git-credentials", home.path(".config/git/config")).expect("a link");
    let look = home
        .jar()
        .preset("standard")
        .flags(["--read", "group:git"])
        .guest(
            "look",
            ["/home/plugin/.gitconfig", "/home/plugin/.config/git/config"],
        )
        .end()
        .clean();
    assert_eq!(look.line("/home/plugin/.gitconfig: "), "ro file 23");
    assert_eq!(
        look.line("/home/plugin/.config/git/config: "),
        "entity not found"
    );
    let dropped = &look.report().dropped;
    assert!(
        dropped
            .iter()
            .any(|dropped| dropped.reason.contains("passwords of repositories")),
        "{dropped:?}"
    );
}

#[test]
fn minimal_hides_a_home_and_the_group_shows_its_part_of_it() {
    // As root nobody but root can enter such a home, and the guest is never root.
    if is_root() || !git() {
        return;
    }
    let home = Home::new();
    let ask = ["git", "config", "--global", "user.name"];
    let without = home.jar().preset("minimal").program(ask).end();
    assert!(!without.status.success(), "{without:#?}");
    let jar = home.jar().preset("minimal");
    let with = jar.flags(["--read", "group:git"]).program(ask).end();
    // What lies deeper is hidden with its directory, and that is told.
    let dropped = &with.report().dropped;
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert!(
        dropped[0]
            .reason
            .contains("which preset minimal hides as a whole"),
        "{dropped:?}"
    );
    assert_eq!(said(with), "Somebody");
}

#[test]
fn deny_takes_a_path_out_of_a_group() {
    if !git() {
        return;
    }
    let home = Home::new();
    let policy = home.path("policy.toml");
    let denied = format!(
        "[filesystem]\ndeny = [\"{}\"]\n",
        home.path(".gitconfig").display()
    );
    fs::write(&policy, denied).expect("a policy");
    let ended = home
        .jar()
        .preset("standard")
        .flags(["--policy", text(&policy)])
        .flags(["--read", "group:git"])
        .guest(
            "look",
            ["/home/plugin/.gitconfig", "/home/plugin/.config/git/ignore"],
        )
        .end()
        .clean();
    assert_eq!(ended.line("/home/plugin/.gitconfig: "), "entity not found");
    assert_eq!(ended.line("/home/plugin/.config/git/ignore: "), "ro file 6");
}

#[test]
fn node_of_nvm_runs_and_its_directory_is_on_the_path() {
    if !need(Need::Program("node")) {
        return;
    }
    let home = Home::new();
    let node = fs::read("/usr/bin/node").expect("node");
    let bin = ".nvm/versions/node/v99.0.0/bin";
    let node = home.program(&format!("{bin}/node"), &node);
    home.program(
        &format!("{bin}/installed-tool"),
        b"#!/bin/sh\necho the tool\n",
    );
    let ask = [text(&node), "-p", "process.execPath"];
    let shell = |words: &[&str]| format!("'{}' '{}' {}", words[0], words[1], words[2]);

    let without = home.jar().preset("standard").shell(&shell(&ask)).end();
    assert_eq!(without.status.code(), Some(127), "{without:#?}");
    let with = |script: &str| {
        let jar = home.jar().preset("standard");
        said(jar.flags(["--read", "toolchain:node"]).shell(script).end())
    };
    assert_eq!(with(&shell(&ask)), text(&node));
    assert_eq!(with("installed-tool"), "the tool");
    let by_name = home
        .jar()
        .preset("standard")
        .flags(["--read", "toolchain:node"]);
    assert_eq!(said(by_name.program(["installed-tool"]).end()), "the tool");
    let npmrc = home.path(".npmrc");
    assert_eq!(
        with(&format!("cat '{}' 2>&1 | sed 's/.*: //'", npmrc.display())),
        "No such file or directory"
    );
}

#[test]
fn a_strict_program_starts_python_with_its_libraries_by_the_group() {
    if !need(Need::Python) {
        return;
    }
    let home = Home::new();
    let script = "python3 -c 'import ctypes, json, ssl; print(json.dumps({}))'";
    let strict = || {
        home.jar()
            .preset("strict")
            .flags(["--allow", "subprocesses"])
            // What is granted as a whole may hold a program that asks for such memory.
            .flags(["--best-effort", "writable_code"])
    };
    let without = strict().shell(script).end();
    assert_eq!(without.status.code(), Some(127), "{without:#?}");
    let with = strict().flags(["--read", "toolchain:python"]).shell(script);
    assert_eq!(said(with.end()), "{}");
}

#[test]
fn a_strict_program_starts_go_and_java_by_their_groups() {
    for (program, group, script, word) in [
        ("go", "toolchain:go", "go version", "go version go"),
        (
            "java",
            "toolchain:java",
            "java -Xshare:off -version 2>&1",
            "version \"",
        ),
    ] {
        if !need(Need::Program(program)) {
            continue;
        }
        let home = Home::new();
        let strict = || {
            home.jar()
                .preset("strict")
                .flags(["--allow", "subprocesses", "--allow", "jit"])
                .flags(["--memory", "2GiB", "--processes", "200"])
        };
        let without = strict().shell(script).end();
        assert_eq!(without.status.code(), Some(127), "{without:#?}");
        let with = said(strict().flags(["--read", group]).shell(script).end());
        assert!(with.contains(word), "{with}");
    }
}

#[test]
fn rustup_s_compiler_compiles_by_the_group() {
    let Some(home) = std::env::home_dir() else {
        return;
    };
    let here = [".rustup/toolchains", ".cargo/bin/rustc"];
    if !here.iter().all(|name| home.join(name).exists()) || !need(Need::Compiler) {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    fs::write(
        room.path().join("hello.rs"),
        "fn main() { println!(\"compiled\") }\n",
    )
    .expect("a source");
    let path = format!("{}:/usr/bin:/bin", home.join(".cargo/bin").display());
    let compile = |flags: &[&str]| {
        jar()
            .preset("standard")
            .caller_env("PATH", &path)
            .flags(["--write", text(room.path())])
            .flags(["--workdir", text(room.path())])
            .flags(flags)
            .program(["rustc", "-C", "debuginfo=0", "hello.rs"])
            .end()
    };
    let without = compile(&[]);
    assert_eq!(without.status.code(), Some(127), "{without:#?}");
    let with = compile(&["--read", "toolchain:rust", "--memory", "none"]);
    assert_eq!(said(with), "");
    let hello = jar()
        .preset("standard")
        .program([room.path().join("hello")])
        .end();
    assert_eq!(said(hello), "compiled");
}

#[test]
fn a_strict_program_trusts_what_the_machine_trusts_by_the_group() {
    if !need(Need::Python) || !Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
        return;
    }
    let home = Home::new();
    let script = "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 10)";
    let python = || home.jar().preset("strict");
    let ask = ["/usr/bin/python3", "-c", script];
    assert_eq!(said(python().program(ask).end()), "False");
    let with = python().flags(["--read", "group:tls-roots"]).program(ask);
    assert_eq!(said(with.end()), "True");
    let keys = python()
        .flags(["--read", "group:tls-roots"])
        .guest("look", ["/etc/ssl/private"])
        .end()
        .clean();
    assert_eq!(keys.line("/etc/ssl/private: "), "entity not found");
}

#[test]
fn a_strict_program_tells_the_callers_time_by_the_group() {
    if !Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
        return;
    }
    let home = Home::new();
    let date = || {
        let jar = home
            .jar()
            .preset("strict")
            .caller_env("TZ", "Europe/Berlin");
        jar.program(["/bin/date", "-d", "@0", "+%H:%M"])
    };
    assert_eq!(said(date().end()), "00:00");
    let with = date().flags(["--read", "group:locale"]);
    assert_eq!(said(with.end()), "01:00");
}

#[test]
fn a_plugin_gets_a_group_that_its_manifest_and_the_policy_name() {
    let home = Home::new();
    let plugin = tempfile::tempdir().expect("a directory");
    let script = "#!/bin/sh\nread line < /home/plugin/.gitconfig && echo \"$line\"\n";
    let entry = plugin.path().join("run.sh");
    fs::write(&entry, script).expect("a script");
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o755)).expect("a mode");
    let manifest = |read: &str| {
        let text = format!(
            "[plugin]\nname = \"p\"\nversion = \"1.0.0\"\nentry = \"run.sh\"\n[filesystem]\nread = [{read}]\n"
        );
        fs::write(plugin.path().join("belljar.toml"), text).expect("a manifest");
    };
    let policy = home.path("policy.toml");
    fs::write(&policy, "filesystem.read = [\"group:git\"]\n").expect("a policy");
    manifest("\"group:git\"");
    let refused = home.jar().plugin(plugin.path(), &[]).end();
    assert_eq!(refused.status.code(), Some(125), "{refused:#?}");
    assert!(
        refused.stderr.contains("`--read group:git`"),
        "{}",
        refused.stderr
    );
    let granted = home
        .jar()
        .flags(["--policy", text(&policy)])
        .plugin(plugin.path(), &[])
        .end();
    assert_eq!(said(granted), "[user]");
    // Optional, and of no use here.
    manifest("{ path = \"group:git\", optional = true }");
    let dropped = home.jar().plugin(plugin.path(), &[]).end();
    assert!(!dropped.status.success());
    assert_eq!(
        dropped.report().dropped[0].request,
        "filesystem.read group:git"
    );
}

#[test]
fn a_group_of_which_nothing_is_there_launches_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    if Path::new("/dev/dri").exists() || Path::new("/dev/nvidiactl").exists() {
        return;
    }
    let ended = jar()
        .caller_env("HOME", home.path())
        .flags(["--read", "group:gpu"])
        .program(["/bin/true"])
        .end();
    assert_eq!(ended.status.code(), Some(125));
    assert!(
        ended.stderr.contains("nothing of it is on this machine"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("belljar policy groups group:gpu"),
        "{}",
        ended.stderr
    );
}
