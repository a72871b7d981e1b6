//! `belljar policy`: groups, check and show. No jar is needed for any of it.
#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use belljar_policy::policy::{Format, Policy};
use tempfile::TempDir;

/// A directory with policies, and somebody's home.
struct Room(TempDir);

impl Room {
    fn new(files: &[(&str, &str)]) -> Self {
        let room = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = room.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn belljar(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_belljar"))
            .args(words)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", format!("{}:/usr/bin", self.path("tools").display()))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What it tells, and the status.
    fn tells(&self, words: &[&str]) -> (String, i32) {
        let output = self.belljar(words);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, "", "{words:?}");
        (
            String::from_utf8(output.stdout).unwrap(),
            output.status.code().unwrap(),
        )
    }

    /// What it complains about, with status 125.
    fn complains(&self, words: &[&str]) -> String {
        let output = self.belljar(words);
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn fits_a_terminal(text: &str) {
    for line in text.lines() {
        // A path is not broken.
        assert!(line.chars().count() <= 80 || line.contains('/'), "{line}");
    }
    assert!(!text.contains('\x1b'), "colour off a terminal: {text}");
}

#[test]
fn every_group_is_listed_and_each_is_explained() {
    let room = Room::new(&[("home/.gitconfig", ""), ("home/.git-credentials", "")]);
    let (all, status) = room.tells(&["policy", "groups"]);
    assert_eq!(status, 0);
    fits_a_terminal(&all);
    for group in belljar_policy::group::Group::ALL {
        assert!(all.contains(&format!("  {group} ")), "{group}\n{all}");
        let (one, _) = room.tells(&["policy", "groups", group.word()]);
        fits_a_terminal(&one);
        assert!(one.starts_with(group.word()), "{one}");
    }
    let (git, _) = room.tells(&["policy", "groups", "group:git"]);
    assert!(
        git.contains(&format!(
            "  here      {}\n",
            room.path("home/.gitconfig").display()
        )),
        "{git}"
    );
    assert!(git.contains("  -         ~/.config/git/config\n"), "{git}");
    let (json, _) = room.tells(&["policy", "groups", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(all[0]["name"], "group:git");
    assert_eq!(
        all[0]["places"][0]["found"][0],
        text(&room.path("home/.gitconfig"))
    );
    assert!(!json.contains(text(&room.path("home/.git-credentials"))));
    assert_eq!(
        all.as_array().unwrap().len(),
        belljar_policy::group::Group::ALL.len()
    );

    let unknown = room.complains(&["policy", "groups", "toolchain:pyton"]);
    assert!(
        unknown.contains("did you mean `toolchain:python`?"),
        "{unknown}"
    );
    room.complains(&["policy", "groups", "git"]);
}

#[test]
fn check_names_the_line_of_what_undoes_the_jar() {
    let room = Room::new(&[("tools/x", ""), ("home/.ssh/id_rsa", ""), ("data/x", "")]);
    let (tools, home, data) = (room.path("tools"), room.path("home"), room.path("data"));
    std::os::unix::fs::symlink(home.join(".ssh"), room.path("link")).unwrap();
    let policy = format!(
        "preset = \"strict\"\n[filesystem]\nread = [\"{data}\",\n  \"{link}\",\n  \"/run/docker.sock\"]\nwrite = [\"{tools}\",\n  \"{home}/.bashrc\"]\n",
        data = data.display(),
        link = room.path("link").display(),
        tools = tools.display(),
        home = home.display(),
    );
    fs::write(room.path("p.toml"), policy).unwrap();
    let (told, status) = room.tells(&["policy", "check", "p.toml"]);
    assert_eq!(status, 0);
    fits_a_terminal(&told);
    for (line, words) in [
        ("p.toml line 4", "private SSH keys"),
        ("p.toml line 5", "the socket of docker"),
        ("p.toml line 6", "programs are started by name"),
        ("p.toml line 7", "commands that your shell runs"),
    ] {
        let after = told
            .split(line)
            .nth(1)
            .unwrap_or_else(|| panic!("{line}: {told}"));
        let joined = after
            .split("\n\n")
            .next()
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(
            joined.starts_with("critical") && joined.contains(words),
            "{line}: {joined}"
        );
    }
    assert!(!told.contains("p.toml line 3"), "{told}");
    assert!(
        told.ends_with("p.toml is a policy; its warnings: 4 critical, 0 high, 0 low\n"),
        "{told}"
    );
    assert_eq!(room.tells(&["policy", "check", "--strict", "p.toml"]).1, 1);

    let (json, status) = room.tells(&["policy", "check", "--strict", "--json", "p.toml"]);
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status, 1);
    assert_eq!(found["warnings"].as_array().unwrap().len(), 4);
    assert_eq!(found["warnings"][0]["risk"]["level"], "critical");
    assert_eq!(found["missing"][0]["path"], "/run/docker.sock");
}

#[test]
fn a_policy_that_lets_itself_be_written_is_warned_of() {
    let room = Room::new(&[("conf/x", ""), ("data/x", "")]);
    let policy = |write: &Path| {
        let text = format!("[app.policy]\nfilesystem.write = ['{}']\n", write.display());
        fs::write(room.path("conf/app.toml"), text).unwrap();
        room.tells(&["policy", "check", "--strict", "conf/app.toml#app.policy"])
    };
    std::os::unix::fs::symlink(room.path("conf"), room.path("link")).unwrap();
    for place in ["conf", "link", "conf/app.toml"] {
        let (told, status) = policy(&room.path(place));
        assert!(
            status == 1 && told.contains("this policy lies in it"),
            "{told}"
        );
    }
    assert_eq!(policy(&room.path("data")).1, 0);
}

#[test]
fn a_harmless_policy_has_no_warnings_and_a_low_one_is_not_serious() {
    let room = Room::new(&[(
        "p.toml",
        "filesystem.read = ['group:tls-roots']\nprocess.jit = true\n",
    )]);
    let (told, status) = room.tells(&["policy", "check", "--strict", "p.toml"]);
    assert_eq!(status, 0, "{told}");
    assert!(
        told.ends_with("its warnings: 0 critical, 0 high, 2 low\n"),
        "{told}"
    );
}

#[test]
fn what_is_no_policy_ends_with_125_and_the_line() {
    let room = Room::new(&[
        ("typo.toml", "\n\npresett = 1"),
        ("group.toml", "filesystem.read = [\n'group:gti']"),
        ("a.toml", "extends = ['sub/b.toml']"),
        ("sub/b.toml", "\nextends = ['../a.toml']"),
        ("gone.toml", "extends = ['none.toml']"),
    ]);
    for (file, words) in [
        ("none", "cannot read policy `none`"),
        (
            "typo.toml",
            "typo.toml line 3: unknown key `presett`; did you mean `preset`?",
        ),
        (
            "group.toml",
            "group.toml line 2: there is no group `group:gti`; did you mean `group:git`?",
        ),
        (
            "a.toml",
            "sub/b.toml line 2: cannot extend `sub/../a.toml`: it would extend itself: a.toml -> sub/b.toml -> sub/../a.toml",
        ),
        (
            "gone.toml",
            "gone.toml line 1: cannot extend `none.toml`: No such file or directory",
        ),
        ("typo.toml#x", "there is no table `x`"),
    ] {
        let complaint = room.complains(&["policy", "check", file]);
        assert!(complaint.contains(words), "{complaint}");
        // A run and a look at it say the same.
        assert_eq!(
            room.complains(&["policy", "show", "--policy", file])
                .replace("--policy", "FILE"),
            complaint
        );
    }
}

#[test]
fn show_prints_a_policy_that_reads_back_with_the_place_of_each_line() {
    let room = Room::new(&[
        (
            "app.toml",
            "extends = ['base.toml#plugins-of-all']\nfilesystem.read = ['/srv', 'group:git']\n[plugins.resize]\nlimits.memory = '1GiB'\n",
        ),
        (
            "base.toml",
            "[plugins-of-all]\npreset = 'strict'\nfilesystem.deny = ['/srv/keys']\nlimits.memory = '512MiB'\n",
        ),
    ]);
    let (told, status) = room.tells(&["policy", "show", "--policy", "app.toml"]);
    assert_eq!(status, 0);
    for line in [
        "preset = \"strict\" # base.toml line 2, extended at app.toml line 1",
        "    \"/srv\", # app.toml line 2",
        "    \"group:git\", # app.toml line 2",
        "    \"/srv/keys\", # base.toml line 3, extended at app.toml line 1",
        "[plugins.resize.limits]",
        "#   wall: 5 min",
    ] {
        assert!(told.lines().any(|said| said == line), "{line}\n{told}");
    }
    fs::write(room.path("copy.toml"), &told).unwrap();
    let (copy, _) = room.tells(&["policy", "show", "--policy", "copy.toml"]);
    let bare = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .map(|line| line.split(" # ").next().unwrap().to_owned());
        lines.collect()
    };
    assert_eq!(bare(&copy), bare(&told));
    let parsed = Policy::parse(&told, Format::Toml, "p", None).unwrap();
    assert_eq!(parsed.plugins.len(), 1);

    let (own, _) = room.tells(&[
        "policy", "show", "--policy", "app.toml", "--plugin", "resize", "--preset", "standard",
    ]);
    assert!(
        own.starts_with("preset = \"standard\" # --preset\n"),
        "{own}"
    );
    assert!(
        own.contains("memory = \"1 GiB\" # app.toml line 4") && !own.contains("[plugins"),
        "{own}"
    );
    let none = room.complains(&[
        "policy", "show", "--policy", "app.toml", "--plugin", "rezise",
    ]);
    assert!(none.contains("there is no `[plugins.rezise]`"), "{none}");

    let (json, _) = room.tells(&["policy", "show", "--policy", "app.toml", "--json"]);
    let lines: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(lines[0]["key"], "preset");
    assert_eq!(
        lines[0]["origin"],
        "base.toml line 2, extended at app.toml line 1"
    );
}

#[test]
fn show_tells_what_is_so_where_nothing_is_said_and_what_flags_say_of_rules() {
    let room = Room::new(&[("app.toml", "require.memory = 'supervisor'\n")]);
    let (nothing, status) = room.tells(&["policy", "show"]);
    assert_eq!(status, 0);
    for line in [
        "# No preset is said: a plugin runs under strict, a program under standard.",
        "# Limits of preset strict, which nothing above changes:",
        "# Limits of preset standard, which nothing above changes:",
    ] {
        assert!(
            nothing.lines().any(|said| said == line),
            "{line}\n{nothing}"
        );
    }
    let (told, _) = room.tells(&[
        "policy",
        "show",
        "--policy",
        "app.toml",
        "--require",
        "files=kernel",
        "--best-effort",
        "nesting",
        "--end-on",
        "syscalls",
    ]);
    for line in [
        "    \"syscalls\", # --end-on syscalls",
        "files = \"kernel\" # --require files=kernel",
        "memory = \"supervisor\" # app.toml line 1",
        "nesting = \"best-effort\" # --best-effort nesting",
    ] {
        assert!(told.lines().any(|said| said == line), "{line}\n{told}");
    }
    let weaker = room.complains(&[
        "policy",
        "show",
        "--policy",
        "app.toml",
        "--best-effort",
        "memory",
    ]);
    assert!(weaker.contains("app.toml line 1"), "{weaker}");
}

#[test]
fn explain_names_the_group_and_the_word_that_granted_it() {
    let room = Room::new(&[("home/.gitconfig", "")]);
    let output = room.belljar(&["explain", "--read", "group:git", "--", "/bin/true"]);
    let told = String::from_utf8(output.stdout).unwrap();
    // Where no jar can be made here, the refusal is about that.
    if output.status.success() {
        let joined = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(joined.contains("group:git (--read)"), "{told}");
        assert!(joined.contains("/home/plugin/.gitconfig"), "{told}");
    }
}
