//! From "it fails in the jar" to a manifest and a policy with which it works, by
//! `belljar learn` alone; and what a guest can make of being learnt from.
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use belljar_tests::{Need, belljar, need};
use serde_json::Value;
use tempfile::TempDir;

/// A newcomer: a home, a plugin, and a policy that is not there yet.
struct Newcomer {
    room: TempDir,
}

impl Newcomer {
    fn new(entry: &str, script: &str) -> Self {
        let room = tempfile::tempdir().expect("a directory");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(room.path(), open.clone()).expect("a mode");
        for name in ["home", "plugin"] {
            fs::create_dir(room.path().join(name)).expect("a directory");
        }
        let manifest = format!(
            "# What it asks for.\n[plugin]\nname = \"tool\"\nversion = \"1.0.0\" # the first\nentry = \"{entry}\"\n"
        );
        fs::write(room.path().join("plugin/belljar.toml"), manifest).expect("a manifest");
        let path = room.path().join("plugin").join(entry);
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, open).expect("a mode");
        Self { room }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn call(&self, words: &[&str]) -> Output {
        Command::new(belljar())
            .args(words)
            .current_dir(self.room.path())
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("state"))
            .stdin(Stdio::null())
            .output()
            .expect("belljar starts")
    }

    fn policy(&self) -> Vec<&str> {
        match self.path("policy.toml").exists() {
            true => vec!["--policy", "policy.toml"],
            false => Vec::new(),
        }
    }

    fn run(&self) -> Output {
        self.call(&[&["run"], self.policy().as_slice(), &["plugin"]].concat())
    }

    fn learn(&self, more: &[&str]) -> Output {
        let files = ["--update", "plugin/belljar.toml", "--update", "policy.toml"];
        // The policy that is updated is the one that it runs by.
        let words = [&["learn"], more, &files, &["plugin"]].concat();
        self.call(&words)
    }

    /// Learns until it works; how often that took.
    fn until_it_works(&self, more: &[&str]) -> usize {
        let before = self.run();
        assert!(!before.status.success(), "it works from the start");
        let mut last = None;
        for round in 1..=6 {
            let learnt = self.learn(more);
            let done = self.run();
            if done.status.success() {
                return round;
            }
            last = Some((learnt, done));
        }
        let (learnt, done) = last.expect("a round");
        panic!(
            "it does not work:\n{}\n{}\n{}\n{}",
            text(&learnt.stderr),
            text(&done.stderr),
            self.text("plugin/belljar.toml"),
            self.text("policy.toml")
        );
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_python_script_that_reads_a_config_in_its_home() {
    if !need(Need::Python) {
        return;
    }
    let newcomer = Newcomer::new(
        "tool.py",
        "#!/usr/bin/python3\nimport os\nprint(open(os.path.expanduser('~/.tool.conf')).read())\n",
    );
    fs::write(newcomer.path("home/.tool.conf"), "colour = blue").expect("a file");
    assert_eq!(newcomer.until_it_works(&[]), 1);
    assert_eq!(text(&newcomer.run().stdout), "colour = blue\n");
    let manifest = newcomer.text("plugin/belljar.toml");
    // The comments stay, and nothing is asked for that it did without.
    assert!(
        manifest.starts_with("# What it asks for.\n[plugin]\n"),
        "{manifest}"
    );
    assert!(manifest.contains("# the first\n"), "{manifest}");
    let asked = format!(
        "[filesystem]\nread = [{{ path = \"{}\", at = \"/home/plugin/.tool.conf\" }}]\n",
        newcomer.path("home/.tool.conf").display()
    );
    assert!(manifest.ends_with(&asked), "{manifest}");
}

#[test]
fn a_script_that_asks_whether_its_config_is_there_before_it_reads_it() {
    if !need(Need::Python) {
        return;
    }
    let newcomer = Newcomer::new(
        "tool.py",
        "#!/usr/bin/python3\nimport os, sys\npath = os.path.expanduser('~/.tool.conf')\n\
         if not os.path.exists(path): sys.exit('no config')\nprint(open(path).read())\n",
    );
    fs::write(newcomer.path("home/.tool.conf"), "colour = blue").expect("a file");
    assert_eq!(newcomer.until_it_works(&[]), 1);
}

#[test]
fn a_node_tool_that_writes_a_cache() {
    if !need(Need::Program("node")) {
        return;
    }
    // A jar's own /tmp takes whatever is put there, and keeps none of it.
    let place = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.path(), open).expect("a mode");
    let cache = place.path().join("caches/tool");
    fs::create_dir(place.path().join("caches")).expect("a directory");
    let newcomer = Newcomer::new(
        "tool.js",
        &format!(
            "#!/usr/bin/node\nconst fs = require('fs'), path = require('path')\n\
             const dir = '{}/index'\nfs.mkdirSync(dir, {{ recursive: true }})\n\
             const file = path.join(dir, 'runs')\nlet runs = 0\n\
             try {{ runs = Number(fs.readFileSync(file)) }} catch {{}}\n\
             fs.writeFileSync(file, String(runs + 1))\nconsole.log(runs + 1)\n",
            cache.display()
        ),
    );
    // Nothing is made on the machine because a guest asked for it.
    newcomer.learn(&[]);
    assert!(!cache.exists());
    let rounds = newcomer.until_it_works(&["--keep"]);
    assert!(rounds <= 3, "{rounds}");
    // It is kept from one run to the next, and nothing but its own is granted.
    assert_eq!(text(&newcomer.run().stdout), "2\n");
    let policy = newcomer.text("policy.toml");
    let granted = format!("write = [\"{}\"]", cache.display());
    assert!(policy.contains(&granted), "{policy}");
    assert!(policy.contains("jit = true"), "{policy}");
    let made = fs::metadata(&cache).expect("it was made");
    assert_eq!(made.mode() & 0o7777, 0o700);
}

#[test]
fn a_cache_in_the_home_is_gone_with_the_jar_or_kept_on_demand() {
    if !need(Need::Python) {
        return;
    }
    let newcomer = Newcomer::new(
        "tool.py",
        "#!/usr/bin/python3\nimport os\nplace = os.path.expanduser('~/.cache/tool')\n\
         os.makedirs(place, exist_ok=True)\nwith open(place + '/runs', 'a') as file: file.write('x')\n\
         print(open(place + '/runs').read())\n",
    );
    for _ in 0..2 {
        assert_eq!(text(&newcomer.run().stdout), "x\n");
    }
    // It works, so that nothing is merged but what is asked for.
    let manifest = newcomer.text("plugin/belljar.toml");
    let learnt = newcomer.learn(&[]);
    assert!(learnt.status.success(), "{learnt:?}");
    assert_eq!(newcomer.text("plugin/belljar.toml"), manifest);
    assert!(!newcomer.path("home/.cache").exists());
    newcomer.learn(&["--keep"]);
    let kept: Vec<String> = (0..2).map(|_| text(&newcomer.run().stdout)).collect();
    assert_eq!(kept, ["x\n", "xx\n"]);
    let manifest = newcomer.text("plugin/belljar.toml");
    let asked = format!(
        "[filesystem]\nwrite = [{{ path = \"{}\", at = \"/home/plugin/.cache/tool\" }}]\n",
        newcomer.path("home/.cache/tool").display()
    );
    assert!(manifest.ends_with(&asked), "{manifest}");
}

/// A device of this machine that an ordinary user may open, and a jar.
fn device() -> Option<&'static str> {
    let candidates = [
        "/dev/autofs",
        "/dev/fuse",
        "/dev/net/tun",
        "/dev/kvm",
        "/dev/kmsg",
    ];
    candidates.into_iter().find(|path| {
        let others = fs::metadata(path).is_ok_and(|found| found.mode() & 0o4 != 0);
        let opened = Command::new(belljar())
            .args(["run", "--read", path, "--", "sh", "-c"])
            .arg(format!("exec 3<{path}"))
            .stderr(Stdio::null())
            .status();
        others && opened.is_ok_and(|status| status.success())
    })
}

#[test]
fn a_program_that_needs_a_device() {
    if !need(Need::Python) {
        return;
    }
    let Some(device) = device() else {
        eprintln!("this machine has no device that a jar could be given");
        return;
    };
    let newcomer = Newcomer::new(
        "tool.py",
        &format!(
            "#!/usr/bin/python3\nimport os\nos.open('{device}', os.O_RDONLY)\nprint('open')\n"
        ),
    );
    // Some devices give away much, and take a word of their own.
    let learnt = newcomer.learn(&[]);
    if !newcomer.run().status.success() {
        let told = text(&learnt.stderr);
        assert!(told.contains("--accept high"), "{told}");
        newcomer.until_it_works(&["--accept", "critical"]);
    }
    assert_eq!(text(&newcomer.run().stdout), "open\n");
    let policy = newcomer.text("policy.toml");
    assert!(
        policy.contains(&format!("read = [\"{device}\"]")),
        "{policy}"
    );
}

#[test]
fn a_script_that_starts_programs_gets_them_and_no_others() {
    if !need(Need::Python) {
        return;
    }
    let newcomer = Newcomer::new(
        "tool.py",
        "#!/usr/bin/python3\nimport subprocess\n\
         print(subprocess.run(['sort', '-u'], input=b'b\\na\\nb\\n', capture_output=True, check=True).stdout)\n",
    );
    newcomer.until_it_works(&[]);
    assert_eq!(text(&newcomer.run().stdout), "b'a\\nb\\n'\n");
    let manifest = newcomer.text("plugin/belljar.toml");
    assert!(manifest.contains("subprocesses = true"), "{manifest}");
    assert!(!manifest.contains("/bin/sh"), "{manifest}");
}

/// The program's own streams are untouched, and what is told of it is told
/// beside them.
#[test]
fn a_bare_program_is_run_as_by_run_and_told_about_on_stderr() {
    if !need(Need::Python) {
        return;
    }
    let newcomer = Newcomer::new("tool.py", "");
    fs::write(newcomer.path("data"), "of mine").expect("a file");
    let script = format!(
        "import sys\nprint('out')\nprint('err', file=sys.stderr)\nprint(open('{}').read())",
        newcomer.path("data").display()
    );
    let ended = newcomer.call(&["learn", "--", "python3", "-c", &script]);
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(text(&ended.stdout), "out\n");
    let told = text(&ended.stderr);
    assert!(told.starts_with("err\n"), "{told}");
    let flag = format!("--read {}", newcomer.path("data").display());
    assert!(told.contains(&flag), "{told}");
    for line in told.lines() {
        let pasted = line.contains(newcomer.room.path().to_str().expect("text"));
        assert!(pasted || line.chars().count() <= 80, "{line}");
        assert!(!line.contains('\x1b'), "{line}");
    }
    // The flag that it tells is one with which it works.
    let data = newcomer.path("data");
    let again = newcomer.call(&[
        "learn",
        "--json",
        "--out",
        "lesson.json",
        "--read",
        data.to_str().expect("text"),
        "--",
        "python3",
        "-c",
        &script,
    ]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(text(&again.stdout), "out\nof mine\n");
    assert_eq!(text(&again.stderr), "err\n");
    let lesson: Value = serde_json::from_str(&newcomer.text("lesson.json")).expect("JSON");
    assert_eq!(lesson["outcome"]["kind"], "exited", "{lesson}");
    let needed = lesson["proposals"].as_array().expect("a list");
    assert!(
        needed.iter().all(|proposal| proposal["optional"] == true),
        "{lesson}"
    );
}

#[test]
fn a_launch_that_is_refused_is_told_what_would_have_to_be_granted() {
    if !need(Need::Python) {
        return;
    }
    let newcomer = Newcomer::new(
        "tool.py",
        "#!/usr/bin/python3\nprint(open('/in/x').read())\n",
    );
    fs::create_dir(newcomer.path("data")).expect("a directory");
    fs::write(newcomer.path("data/x"), "of mine").expect("a file");
    let manifest = format!(
        "{}[process]\njit = true\n[filesystem]\nread = [{{ path = \"{}\", at = \"/in\" }}]\n",
        newcomer.text("plugin/belljar.toml"),
        newcomer.path("data").display()
    );
    fs::write(newcomer.path("plugin/belljar.toml"), &manifest).expect("a manifest");
    assert_eq!(newcomer.run().status.code(), Some(125));
    assert_eq!(newcomer.learn(&[]).status.code(), Some(125));
    let done = newcomer.run();
    assert_eq!(text(&done.stdout), "of mine\n", "{done:?}");
    // It asked already.
    assert_eq!(newcomer.text("plugin/belljar.toml"), manifest);
}

#[test]
fn what_changes_nothing_is_not_written_and_what_is_wrong_is_told_before_anything_runs() {
    if !need(Need::Python) {
        return;
    }
    let newcomer = Newcomer::new("tool.py", "#!/usr/bin/python3\nprint('ran')\n");
    let manifest = newcomer.path("plugin/belljar.toml");
    let before = fs::metadata(&manifest).expect("a manifest");
    let ended = newcomer.call(&["learn", "--update", "plugin/belljar.toml", "plugin"]);
    assert!(ended.status.success(), "{ended:?}");
    assert!(
        text(&ended.stderr).contains("nothing to change"),
        "{ended:?}"
    );
    let after = fs::metadata(&manifest).expect("a manifest");
    assert_eq!(
        (before.ino(), before.mtime_nsec()),
        (after.ino(), after.mtime_nsec())
    );

    fs::write(newcomer.path("broken.toml"), "[filesystem\n").expect("a file");
    fs::write(newcomer.path("policy.json"), "{}").expect("a file");
    for (file, words) in [
        ("broken.toml", "it is no TOML"),
        ("policy.json", "nothing is merged into JSON"),
        ("nowhere/policy.toml", "it cannot be read"),
        ("plugin", "it cannot be read"),
        ("nowhere/belljar.toml", "it is not there"),
    ] {
        let ended = newcomer.call(&["learn", "--update", file, "plugin"]);
        assert_eq!(ended.status.code(), Some(125), "{file}");
        assert_eq!(text(&ended.stdout), "", "{file}");
        let told = text(&ended.stderr);
        assert!(told.contains(words) && told.contains("remedy: "), "{told}");
    }
}

/// Else a plugin would write its own policy.
#[test]
fn a_file_that_the_program_may_write_to_is_not_updated() {
    if !need(Need::Python) {
        return;
    }
    let newcomer = Newcomer::new("tool.py", "");
    let shared = newcomer.path("shared");
    fs::create_dir(&shared).expect("a directory");
    fs::write(shared.join("policy.toml"), "").expect("a policy");
    fs::write(newcomer.path("data"), "x").expect("a file");
    let script = format!("open('{}')", newcomer.path("data").display());
    let shared = shared.to_str().expect("text");
    for file in ["shared/policy.toml", "shared/new.toml"] {
        let ended = newcomer.call(&[
            "learn", "--write", shared, "--update", file, "--", "python3", "-c", &script,
        ]);
        assert_eq!(ended.status.code(), Some(125), "{ended:?}");
        let told = text(&ended.stderr);
        assert!(told.contains("which the program may write to"), "{told}");
        assert!(newcomer.text(file).is_empty());
    }
}

/// What is merged is the least risk, whatever a guest asks for; and its names
/// forge no line.
#[test]
fn a_guest_that_asks_for_secrets_or_forges_lines_gets_neither_merged() {
    if !need(Need::Python) {
        return;
    }
    let newcomer = Newcomer::new(
        "tool.py",
        "#!/usr/bin/python3\nimport os, sys\n\
         names = ['~/.ssh/id_ed25519', '~/.aws/credentials', '~/x\\x1b[2J\\n\"]\\njit = true #']\n\
         for name in names:\n    try: open(os.path.expanduser(name))\n    except OSError: pass\n\
         for name in names:\n    try: os.mkdir('/etc/cron.d/' + os.path.basename(name))\n    except OSError: pass\n\
         try: open('/usr/bin/ls', 'w')\n    \nexcept OSError: pass\nsys.exit(1)\n",
    );
    for (directory, name) in [(".ssh", "id_ed25519"), (".aws", "credentials")] {
        let directory = newcomer.path("home").join(directory);
        fs::create_dir(&directory).expect("a directory");
        fs::write(directory.join(name), "secret").expect("a file");
    }
    let odd = newcomer.path("home").join("x\u{1b}[2J\n\"]\njit = true #");
    fs::write(odd, "x").expect("a file");
    let learnt = newcomer.learn(&[]);
    let told = text(&learnt.stderr);
    assert!(told.contains("critical"), "{told}");
    assert!(!told.contains('\u{1b}'), "{told}");
    for name in ["plugin/belljar.toml", "policy.toml"] {
        let merged = newcomer.text(name);
        assert!(!merged.contains("jit"), "{merged}");
        for secret in [".ssh", ".aws", "cron", "/usr/bin"] {
            assert!(!merged.contains(secret), "{merged}");
        }
    }
    // Where it was made after all, it does not stay.
    let made = ["id_ed25519", "credentials"]
        .map(|name| fs::remove_dir(Path::new("/etc/cron.d").join(name)).is_ok());
    assert_eq!(made, [false, false]);
}

#[test]
fn a_script_of_the_working_directory_is_learnt_to_want_that_directory() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let newcomer = Newcomer::new("unused", "#!/bin/sh\n");
    let work = newcomer.path("work");
    fs::create_dir(&work).expect("a directory");
    fs::write(work.join("job.sh"), "cat data.txt\n").expect("a script");
    fs::write(work.join("data.txt"), "the data\n").expect("data");
    let call = |words: &[&str]| {
        Command::new(belljar())
            .args(words)
            .current_dir(&work)
            .env("HOME", newcomer.path("home"))
            .env("XDG_STATE_HOME", newcomer.path("state"))
            .stdin(Stdio::null())
            .output()
            .expect("belljar starts")
    };
    let script = ["--", "/bin/sh", "job.sh"];
    assert!(
        !call(&[&["run"], script.as_slice()].concat())
            .status
            .success()
    );
    let learnt = call(&[&["learn", "--json"], script.as_slice()].concat());
    // What is told goes beside the program's own output.
    let lesson = String::from_utf8_lossy(&learnt.stderr).into_owned();
    let flag = format!(
        "--read {}",
        work.canonicalize().expect("it is there").display()
    );
    assert!(lesson.contains(&flag), "{lesson}");
    let (word, path) = flag.split_once(' ').expect("two words");
    let again = call(&[&["run", word, path], script.as_slice()].concat());
    assert_eq!(String::from_utf8_lossy(&again.stdout), "the data\n");
}

#[test]
fn a_lesson_follows_no_link_that_the_program_put_in_its_place() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let newcomer = Newcomer::new("unused", "#!/bin/sh\n");
    let shared = newcomer.path("shared");
    fs::create_dir(&shared).expect("a directory");
    let victim = newcomer.path("victim");
    fs::write(&victim, "precious\n").expect("a file");
    let script = format!("ln -s {} {}/lesson.txt", victim.display(), shared.display());
    let (shared, out) = (shared.to_str().expect("text"), shared.join("lesson.txt"));
    let out = out.to_str().expect("text");
    let learnt = newcomer.call(&[
        "learn", "--write", shared, "--out", out, "--", "/bin/sh", "-c", &script,
    ]);
    assert!(learnt.status.success(), "{}", text(&learnt.stderr));
    assert_eq!(newcomer.text("victim"), "precious\n");
    let lesson = fs::symlink_metadata(out).expect("it is there");
    assert!(lesson.is_file(), "{lesson:?}");
    assert!(newcomer.text("shared/lesson.txt").contains("what it used"));
}

#[test]
fn what_runs_commands_elsewhere_is_not_hidden_in_a_directory_of_low_risk() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let newcomer = Newcomer::new("unused", "#!/bin/sh\n");
    let project = newcomer.path("project");
    fs::create_dir_all(project.join(".git/hooks")).expect("a directory");
    for name in [
        "package.json",
        "Makefile",
        ".git/config",
        ".git/hooks/pre-commit",
    ] {
        fs::write(project.join(name), "").expect("a file");
    }
    let shown = project.to_str().expect("text");
    let script = format!(
        "#!/bin/sh\nfor file in Makefile package.json .git/config .git/hooks/pre-commit; do echo >> {shown}/$file; done; exit 1\n"
    );
    fs::write(newcomer.path("plugin/unused"), script).expect("a script");
    newcomer.learn(&[]);
    let policy = newcomer.text("policy.toml");
    assert!(policy.contains("/Makefile"), "{policy}");
    assert!(!policy.contains(&format!("\"{shown}\"")), "{policy}");
    assert!(!policy.contains(".git"), "{policy}");
}

/// A policy bounds what flags grant a bare program, and grants it no path.
#[test]
fn what_a_bare_program_lacks_is_flags_and_no_file_is_told_to_keep_them() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let newcomer = Newcomer::new("unused", "#!/bin/sh\n");
    for name in ["a", "b"] {
        fs::write(newcomer.path(name), "the data\n").expect("a file");
    }
    let (a, b) = (newcomer.path("a"), newcomer.path("b"));
    let script = format!("cat {} {}", a.display(), b.display());
    let program = ["--", "/bin/sh", "-c", &script];
    let learnt =
        newcomer.call(&[&["learn", "--update", "policy.toml"], program.as_slice()].concat());
    let told = text(&learnt.stderr);
    assert!(told.contains("nothing to change"), "{told}");
    assert!(told.contains("by flags alone"), "{told}");
    assert!(!told.contains("filesystem.read"), "{told}");
    assert!(!newcomer.path("policy.toml").exists());
    let flags: Vec<&str> = told
        .split_once("all of it, as flags of `belljar run`\n")
        .expect("a list")
        .1
        .lines()
        .take_while(|line| !line.is_empty())
        .flat_map(str::split_whitespace)
        .collect();
    let done = newcomer.call(&[&["run"], flags.as_slice(), &program].concat());
    assert_eq!(text(&done.stdout), "the data\nthe data\n", "{done:?}");

    // Where a policy bounds the flags, its line is needed too.
    let bounding = format!("[filesystem]\nread = [\"{}\"]\n", a.display());
    fs::write(newcomer.path("policy.toml"), bounding).expect("a policy");
    let by = ["--policy", "policy.toml"];
    let update = ["--update", "policy.toml"];
    newcomer.call(&[&["learn"], by.as_slice(), &update, &program].concat());
    let policy = newcomer.text("policy.toml");
    assert!(policy.contains(b.to_str().expect("text")), "{policy}");
    let words = [
        &["run", "--policy", "policy.toml"],
        flags.as_slice(),
        &program,
    ]
    .concat();
    let done = newcomer.call(&words);
    assert_eq!(text(&done.stdout), "the data\nthe data\n", "{done:?}");
}

#[test]
fn a_script_right_in_a_home_is_learnt_to_want_itself_and_not_that_home() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let newcomer = Newcomer::new("unused", "#!/bin/sh\n");
    let home = newcomer.path("home").canonicalize().expect("it is there");
    fs::write(home.join("job.sh"), "cat data.txt\n").expect("a script");
    fs::write(home.join("data.txt"), "the data\n").expect("data");
    let call = |words: &[&str]| {
        Command::new(belljar())
            .args(words)
            .current_dir(&home)
            .env("HOME", &home)
            .env("XDG_STATE_HOME", newcomer.path("state"))
            .stdin(Stdio::null())
            .output()
            .expect("belljar starts")
    };
    let script = ["--", "/bin/sh", "job.sh"];
    let mut flags: Vec<String> = Vec::new();
    for file in ["job.sh", "data.txt"] {
        let granted: Vec<&str> = flags.iter().flat_map(|flag| flag.split(' ')).collect();
        let run = call(&[&["run"], granted.as_slice(), &script].concat());
        assert!(!run.status.success(), "{run:?}");
        let learnt = call(&[&["learn"], granted.as_slice(), &script].concat());
        let told = text(&learnt.stderr);
        let flag = format!("--read {}/{file}:/{file}", home.display());
        assert!(told.contains(&flag), "{told}");
        assert!(!told.contains("critical"), "{told}");
        flags.push(flag);
        // The same is told where it fails, as far as the words name it.
        let said = text(&run.stderr);
        assert!(file != "job.sh" || said.contains(&flags[0]), "{said}");
    }
    let granted: Vec<&str> = flags.iter().flat_map(|flag| flag.split(' ')).collect();
    let done = call(&[&["run"], granted.as_slice(), &script].concat());
    assert_eq!(text(&done.stdout), "the data\n", "{done:?}");
}

#[test]
fn a_policy_that_is_named_is_there_to_run_by_though_nothing_is_lacked() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let newcomer = Newcomer::new("unused", "#!/bin/sh\necho ran\n");
    let learnt = newcomer.learn(&[]);
    assert!(learnt.status.success(), "{learnt:?}");
    assert!(newcomer.path("policy.toml").exists());
    assert_eq!(text(&newcomer.run().stdout), "ran\n");
}

#[test]
fn a_policy_in_a_table_of_an_application_s_own_file_is_merged_into() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let newcomer = Newcomer::new("unused", "#!/bin/sh\n");
    fs::write(newcomer.path("data"), "the data\n").expect("a file");
    let data = newcomer.path("data").display().to_string();
    fs::write(
        newcomer.path("plugin/unused"),
        format!("#!/bin/sh\ncat {data}\n"),
    )
    .expect("a script");
    let before =
        "port = 80 # ours\n\n[plugins.security]\npreset = \"standard\"\n\n[log]\nlevel = 1\n";
    fs::write(newcomer.path("app.toml"), before).expect("a file");
    let manifest = ["--update", "plugin/belljar.toml"];
    let words = ["learn", "--update", "app.toml#plugins.security"];
    newcomer.call(&[words.as_slice(), &manifest, &["plugin"]].concat());
    let after = newcomer.text("app.toml");
    let added = format!("[plugins.security.filesystem]\nread = [\"{data}\"]\n");
    assert!(after.contains(&added), "{after}");
    assert!(!newcomer.path("app.toml#plugins.security").exists());
    let policy = ["run", "--policy", "app.toml#plugins.security", "plugin"];
    assert_eq!(text(&newcomer.call(&policy).stdout), "the data\n");

    for (file, words) in [
        ("app.toml#none", "`none` in it is no table"),
        ("none.toml#security", "it cannot be read"),
    ] {
        let refused = newcomer.call(&["learn", "--update", file, "plugin"]);
        assert_eq!(refused.status.code(), Some(125), "{file}");
        assert!(text(&refused.stderr).contains(words), "{refused:?}");
    }
}
