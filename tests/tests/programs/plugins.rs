//! Interpreters as strict plugins: a manifest that asks for the rights that
//! each needs, and the operator's policy that grants them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use belljar_plan::{Outcome, Rule};
use belljar_tests::{Ended, Need, jar, need};
use tempfile::TempDir;

use crate::{
    java, node, python,
    room::{programs, says, system},
};

/// Rights of a plugin.
#[derive(Clone, Copy, Default)]
struct Rights {
    subprocesses: bool,
    jit: bool,
    /// Other programs of the system that it starts.
    programs: &'static [&'static str],
}

impl Rights {
    /// The tables in which a manifest asks for them, by the names that the
    /// plugin uses.
    fn asked(self) -> String {
        self.tables(system)
    }

    /// The same tables, in which a policy grants them: it speaks of the places
    /// where links lead.
    fn granted(self) -> String {
        self.tables(|name| fs::canonicalize(system(name)).expect("a program of the system's"))
    }

    fn tables(self, path: impl Fn(&str) -> PathBuf) -> String {
        let programs: Vec<String> = self
            .programs
            .iter()
            .map(|name| format!("\"{}\"", path(name).display()))
            .collect();
        format!(
            "[process]\nsubprocesses = {}\njit = {}\n[filesystem]\nread = [{}]\n\
             [limits]\nmemory = \"256MiB\"\nprocesses = 100\n",
            self.subprocesses,
            self.jit,
            programs.join(", "),
        )
    }
}

/// A plugin that is one script, and what it asks for.
struct Script {
    plugin: TempDir,
    operator: TempDir,
    rights: Rights,
}

impl Script {
    /// A script that starts with this line.
    fn new(line: &str, text: &[u8], rights: Rights) -> Self {
        let plugin = tempfile::tempdir().expect("a directory");
        let entry = plugin.path().join("work");
        fs::write(&entry, [line.as_bytes(), b"\n", text].concat()).expect("a script");
        fs::set_permissions(&entry, fs::Permissions::from_mode(0o755)).expect("its mode");
        let manifest = format!(
            "[plugin]\nname = \"work\"\nversion = \"1.0.0\"\nentry = \"work\"\n{}",
            rights.asked()
        );
        fs::write(plugin.path().join("belljar.toml"), manifest).expect("a manifest");
        Self {
            plugin,
            operator: tempfile::tempdir().expect("a directory"),
            rights,
        }
    }

    fn path(&self) -> &Path {
        self.plugin.path()
    }

    /// Runs parts of it with all that it asks for granted.
    fn granted(&self, parts: &[&str]) -> Ended {
        let policy = self.operator.path().join("policy.toml");
        fs::write(&policy, self.rights.granted()).expect("a policy");
        jar()
            .flags(["--policy".as_ref(), policy.as_os_str()])
            .plugin(self.path(), parts)
            .end()
    }

    /// Runs it by the preset alone: holds it to be refused, with each right's
    /// rule named and the line that grants it.
    fn refused(&self) {
        let ended = jar().plugin(self.path(), &[]).end();
        let Outcome::Refused { unmet } = ended.outcome() else {
            panic!("not refused: {ended:#?}");
        };
        for (asked, rule, line) in [
            (self.rights.subprocesses, Rule::Exec, "subprocesses = true"),
            (self.rights.jit, Rule::WritableCode, "jit = true"),
        ] {
            let told = unmet
                .iter()
                .any(|unmet| unmet.rule == rule && unmet.remedy.contains(line));
            assert_eq!(told, asked, "{rule}: {unmet:#?}");
        }
    }
}

const ALONE: Rights = Rights {
    subprocesses: false,
    jit: false,
    programs: &[],
};
const JIT: Rights = Rights { jit: true, ..ALONE };

fn python_with(rights: Rights) -> Script {
    Script::new("#!/usr/bin/python3", python::SOURCE.as_bytes(), rights)
}

#[test]
fn python_plugin_computes_without_any_right() {
    if !need(Need::Python) {
        return;
    }
    says(
        python_with(ALONE).granted(&["threads", "libraries", "sockets"]),
        &[python::THREADS, python::LIBRARIES, python::SOCKETS].concat(),
    );
}

#[test]
fn python_plugin_starts_processes_where_that_is_granted() {
    if !need(Need::Python) {
        return;
    }
    let plugin = python_with(Rights {
        subprocesses: true,
        programs: &["cat"],
        ..ALONE
    });
    plugin.refused();
    says(
        plugin.granted(&["processes-fork", "processes-spawn", "loops"]),
        &[python::PROCESSES, python::PROCESSES, python::LOOPS].concat(),
    );
}

#[test]
fn python_plugin_makes_callbacks_where_that_is_granted() {
    if !need(Need::Python) {
        return;
    }
    let plugin = python_with(JIT);
    plugin.refused();
    says(plugin.granted(&["callbacks"]), python::CALLBACKS);
}

fn node_with(rights: Rights) -> Script {
    Script::new("#!/usr/bin/node", node::SOURCE.as_bytes(), rights)
}

#[test]
fn node_plugin_needs_no_right_where_it_interprets() {
    if !programs(&["node"]) {
        return;
    }
    let line = "#!/usr/bin/node --jitless";
    says(
        Script::new(line, node::SOURCE.as_bytes(), ALONE).granted(&["threads", "files"]),
        &[node::THREADS, node::FILES].concat(),
    );
}

#[test]
fn node_plugin_works_where_it_may_make_code() {
    if !programs(&["node"]) {
        return;
    }
    let plugin = node_with(JIT);
    plugin.refused();
    says(
        plugin.granted(&["threads", "files", "network", "compute"]),
        &[node::THREADS, node::FILES, node::NETWORK, node::COMPUTE].concat(),
    );
}

#[test]
fn node_plugin_starts_processes_where_that_is_granted() {
    if !programs(&["node"]) {
        return;
    }
    let plugin = node_with(Rights {
        subprocesses: true,
        programs: &["cat", "echo", "sh", "sleep", "tr"],
        ..JIT
    });
    plugin.refused();
    says(
        plugin.granted(&["children", "group"]),
        &[node::CHILDREN, node::GROUP].concat(),
    );
}

/// What a plugin uses without asking is refused while it runs; where it fails
/// for that, the operator is told the rule and the line.
fn fails_for(ended: &Ended, rule: Rule, line: &str) {
    assert!(!ended.status.success(), "{ended:#?}");
    let seen = &ended.report().violations;
    assert!(seen.iter().any(|tried| tried.rule == rule), "{ended:#?}");
    for words in [
        format!("belljar: rule {rule} refused "),
        format!("`{line}`"),
    ] {
        assert!(ended.stderr.contains(&words), "no `{words}`: {ended:#?}");
    }
}

#[test]
fn plugin_that_fails_for_a_right_it_lacks_is_told_the_line() {
    if !need(Need::Python) {
        return;
    }
    let python = python_with(ALONE);
    for (part, rule, line) in [
        ("children", Rule::Exec, "subprocesses = true"),
        ("callbacks", Rule::WritableCode, "jit = true"),
    ] {
        fails_for(&python.granted(&[part]), rule, line);
    }
    if programs(&["node"]) {
        let ended = node_with(ALONE).granted(&["compute"]);
        fails_for(&ended, Rule::WritableCode, "jit = true");
    }
    if programs(&["java", "javac"]) {
        let ended = java_with(ALONE).granted(&["compute"]);
        fails_for(&ended, Rule::WritableCode, "jit = true");
    }
}

/// An archive that `java -jar` finds behind the first line.
fn java_with(rights: Rights) -> Script {
    let archive = fs::read(java::compiled().path("work.jar")).expect("an archive");
    Script::new("#!/usr/bin/java -jar", &archive, rights)
}

#[test]
fn java_plugin_works_where_it_may_make_code() {
    if !programs(&["java", "javac"]) {
        return;
    }
    let plugin = java_with(JIT);
    plugin.refused();
    says(
        plugin.granted(&["threads", "sockets", "files", "compute"]),
        &[java::THREADS, java::SOCKETS, java::FILES, java::COMPUTE].concat(),
    );
}

#[test]
fn java_plugin_starts_processes_where_that_is_granted() {
    if !programs(&["java", "javac"]) {
        return;
    }
    let plugin = java_with(Rights {
        subprocesses: true,
        programs: &["cat", "sleep"],
        ..JIT
    });
    plugin.refused();
    says(plugin.granted(&["children"]), java::CHILDREN);
}
