//! `cargo xtask attacks`: runs every attack as each user, and shows what stopped
//! it in a table; with `--write` also in docs/attacks.md.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, ExitCode},
};

use crate::{
    cache, packages,
    stage::{Stages, Verdict},
    test::{self, MINUTE, Room, cargo},
    user::User,
};

/// Names the file to which the tests append a row for each attack that was held.
const ROWS: &str = "BELLJAR_ATTACK_ROWS";

const PRESETS: [&str; 2] = ["standard", "strict"];

const HEAD: &str = "\
# Attacks

Every hostile guest of `attacks/`, the layer that stops it, and for whom it was seen to be stopped. `cargo xtask attacks
--write` runs them all and writes this page; tests keep it equal to the list in `attacks/src/list.rs`, and no attack may come through.

- **event**: `told` is a violation in the report. What is `quiet` is refused often by nature, or fails by itself.
- **standard**, **strict**: who started the jar in which it was stopped. Some attacks need root to be prepared. `allowed`: the
  preset lets programs do this, and that is where the test sees the attack succeed.
- Each test also sees its guest succeed without the protection: without a jar, in namespaces of its own, or on another kernel
  in a virtual machine.

";

/// One line of the list, as the guests' program prints it.
struct Attack {
    name: String,
    test: String,
    layer: String,
    event: String,
    /// The one preset that stops it; none where both do.
    only: Option<String>,
    tries: String,
}

/// A row: who held which guest in which preset, and whether the report told.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    guest: String,
    preset: String,
    who: String,
    told: bool,
}

/// What the tests did.
struct Seen {
    rows: BTreeSet<Row>,
    /// Names of failed tests, by who ran them.
    failed: BTreeSet<(&'static str, String)>,
}

/// The command.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let write = match args {
        [] => false,
        [flag] if flag == "--write" => true,
        _ => return Err("attacks takes `--write` and nothing else".to_owned()),
    };
    packages::install(packages::for_tests())?;
    test::prepare_cache()?;
    let mut stages = Stages::default();
    let programs = ["build", "-p", "belljar-cli", "-p", "belljar-attacks"];
    if stages.run("build", 15 * MINUTE, &mut cargo(&programs)) != Verdict::Ok {
        return Ok(stages.close());
    }
    let room = Room::new()?;
    let seen = run_tests(&mut stages, &room)?;
    let attacks = list(&room)?;
    let table = table(&attacks, &seen);
    println!("\n{table}");
    if write {
        let page = cache::root().join("docs/attacks.md");
        fs::write(&page, format!("{HEAD}{table}"))
            .map_err(|error| format!("{}: {error}", page.display()))?;
        println!("wrote {}", page.display());
    }
    Ok(stages.close())
}

fn run_tests(stages: &mut Stages, room: &Room) -> Result<Seen, String> {
    const ARGS: &[&str] = &[
        "test",
        "-p",
        "belljar-tests",
        "--test",
        "attacks",
        "--no-fail-fast",
    ];
    let rows = room.path().join("rows");
    fs::write(&rows, "")
        .and_then(|()| fs::set_permissions(&rows, fs::Permissions::from_mode(0o666)))
        .map_err(|error| format!("{}: {error}", rows.display()))?;
    let mut failed = BTreeSet::new();
    let mut run = |who, mut command: Command| {
        command.env(ROWS, &rows);
        room.name_programs(&mut command);
        let before = stages.failed().len();
        stages.run(&format!("attacks as {who}"), 15 * MINUTE, &mut command);
        let tests = stages.failed()[before..].iter();
        failed.extend(tests.map(|name| {
            let test = name
                .rsplit_once(": ")
                .map_or(name.as_str(), |(_, test)| test);
            (who, test.to_owned())
        }));
    };
    if cache::is_root() {
        run("root", cargo(ARGS));
        run("user", User::new()?.cargo(ARGS));
    } else {
        run("user", cargo(ARGS));
    }
    Ok(Seen {
        rows: read_rows(&rows)?,
        failed,
    })
}

fn read_rows(path: &Path) -> Result<BTreeSet<Row>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.lines()
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [guest, preset, who, _layer, told] => Ok(Row {
                guest: guest.to_owned(),
                preset: preset.to_owned(),
                who: who.to_owned(),
                told: told == "yes",
            }),
            _ => Err(format!("{}: no row: {line}", path.display())),
        })
        .collect()
}

/// The list, from the program that has it.
fn list(room: &Room) -> Result<Vec<Attack>, String> {
    let guests = room.path().join("belljar-guest");
    let output = Command::new(&guests)
        .arg("list")
        .output()
        .map_err(|error| format!("{}: {error}", guests.display()))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(Attack::parse)
        .collect()
}

impl Attack {
    fn parse(line: &str) -> Result<Self, String> {
        let [name, test, layer, event, only, tries] = line.split('\t').collect::<Vec<_>>()[..]
        else {
            return Err(format!("no line of the list: {line}"));
        };
        Ok(Self {
            name: name.to_owned(),
            test: test.to_owned(),
            layer: layer.to_owned(),
            event: event.to_owned(),
            only: (only != "-").then(|| only.to_owned()),
            tries: tries.to_owned(),
        })
    }

    fn is_allowed_in(&self, preset: &str) -> bool {
        self.only.as_ref().is_some_and(|only| only != preset)
    }

    /// Who held it in this preset, and who did not.
    fn cell(&self, preset: &str, seen: &Seen) -> String {
        if self.is_allowed_in(preset) {
            return "allowed".to_owned();
        }
        let whos: Vec<String> = ["root", "user"]
            .into_iter()
            .filter_map(|who| {
                let held = seen
                    .rows
                    .iter()
                    .any(|row| row.guest == self.name && row.preset == preset && row.who == who);
                if held {
                    Some(who.to_owned())
                } else if seen.failed.contains(&(who, self.test.clone())) {
                    Some(format!("not {who}"))
                } else {
                    None
                }
            })
            .collect();
        whos.join(", ")
    }

    fn event_cell(&self, seen: &Seen) -> String {
        let of_this = || seen.rows.iter().filter(|row| row.guest == self.name);
        // Of several runs of one guest one may ask for nothing that is denied.
        let missed = of_this().any(|row| {
            !row.told
                && !of_this()
                    .any(|other| other.told && other.preset == row.preset && other.who == row.who)
        });
        if self.event == "told" && missed {
            "told, not seen".to_owned()
        } else {
            self.event.clone()
        }
    }
}

fn table(attacks: &[Attack], seen: &Seen) -> String {
    let mut text = String::from(
        "| attack | what it tries | layer | event | standard | strict |\n|---|---|---|---|---|---|\n",
    );
    for attack in attacks {
        let [standard, strict] = PRESETS.map(|preset| attack.cell(preset, seen));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {standard} | {strict} |",
            attack.name,
            attack.tries,
            attack.layer,
            attack.event_cell(seen),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(rows: &[(&str, &str, bool)], failed: &[&'static str]) -> Seen {
        Seen {
            rows: rows
                .iter()
                .map(|(preset, who, told)| Row {
                    guest: "use_bpf".to_owned(),
                    preset: (*preset).to_owned(),
                    who: (*who).to_owned(),
                    told: *told,
                })
                .collect(),
            failed: failed
                .iter()
                .map(|who| (*who, "calls::bpf_is_refused".to_owned()))
                .collect(),
        }
    }

    fn row(only: &str, seen: &Seen) -> String {
        let line = format!("use_bpf\tcalls::bpf_is_refused\tseccomp\ttold\t{only}\tLoads a map.");
        let table = table(&[Attack::parse(&line).unwrap()], seen);
        table.lines().last().unwrap().to_owned()
    }

    #[test]
    fn an_attack_that_all_held_names_all() {
        let seen = seen(
            &[
                ("standard", "root", true),
                ("standard", "user", true),
                ("strict", "root", true),
                ("strict", "user", true),
            ],
            &[],
        );
        assert_eq!(
            row("-", &seen),
            "| use_bpf | Loads a map. | seccomp | told | root, user | root, user |"
        );
    }

    #[test]
    fn an_attack_that_came_through_names_for_whom() {
        let seen = seen(&[("strict", "root", false)], &["root", "user"]);
        assert_eq!(
            row("-", &seen),
            "| use_bpf | Loads a map. | seccomp | told, not seen | not root, not user | root, not user |"
        );
    }

    #[test]
    fn what_a_preset_allows_is_nobody_s_failure() {
        let seen = seen(&[("strict", "root", true)], &[]);
        assert_eq!(
            row("strict", &seen),
            "| use_bpf | Loads a map. | seccomp | told | allowed | root |"
        );
    }
}
