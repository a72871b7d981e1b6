//! `belljar policy groups`: what each group is for, where it is looked for, and
//! what of it is on this machine.

use belljar::verify::look_at_group;
use belljar_policy::{
    group::{About, Group, GroupError, Item, ItemKind, Variable},
    path::UnixPath,
    risk::Level,
    verified::{Caller, Survey},
};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::PolicyCommandError;
use crate::page::{Page, Tone, print_json};

/// `belljar policy groups`
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// One group, such as toolchain:node
    name: Option<String>,

    /// Tell it in JSON
    #[arg(long)]
    json: bool,
}

/// A group, as it is on this machine.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Told {
    /// Its name as it is written.
    name: &'static str,
    /// What it is for.
    what: &'static str,
    /// How much it gives away.
    level: Level,
    /// What it gives away.
    risk: &'static str,
    /// Rights of `[process]` that it needs under `strict` and does not give.
    needs: Vec<&'static str>,
    /// Variables that come with it.
    variables: Vec<&'static str>,
    /// Something of it is on this machine.
    present: bool,
    /// Where it is looked for.
    places: Vec<Place>,
    /// Directories of programs that are added to PATH.
    programs: Vec<UnixPath>,
}

/// A place of a group.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Place {
    /// `~/` is the caller's home, `*` any letters of one name.
    path: &'static str,
    /// How it is granted.
    how: How,
    /// What of it is on this machine.
    found: Vec<UnixPath>,
}

/// How a place of a group is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum How {
    /// To be read, at its own path.
    Own,
    /// To be read, in the jar's home.
    Home,
    /// To be read and written: a device.
    Device,
    /// To be read; the system has it whether the group's program is there or not.
    System,
}

pub(super) fn run(options: &Options) -> Result<(), PolicyCommandError> {
    match &options.name {
        Some(name) => {
            let unknown = || {
                let all = Group::ALL.map(Group::word).join(", ");
                GroupError::Unknown(crate::words::one_line(name), format!("; there are {all}"))
            };
            let group = Group::read(name)?.ok_or_else(unknown)?;
            let told = told(group)?;
            if options.json {
                print_json(&[told])?;
            } else {
                let mut page = Page::for_stdout();
                explain(&mut page, group, &told);
                page.print()?;
            }
        }
        None => {
            let all = Group::ALL.into_iter().map(told);
            let all = all.collect::<Result<Vec<Told>, _>>()?;
            if options.json {
                print_json(&all)?;
            } else {
                let mut page = Page::for_stdout();
                list(&mut page, &all);
                page.print()?;
            }
        }
    }
    Ok(())
}

fn told(group: Group) -> Result<Told, PolicyCommandError> {
    let (caller, survey) = look_at_group(group)?;
    Ok(of_machine(group, &caller, &survey))
}

fn of_machine(group: Group, caller: &Caller, survey: &Survey) -> Told {
    let About {
        word,
        what,
        level,
        risk,
        items,
        variables,
        needs,
        ..
    } = group.about();
    let members = group.expand(caller, survey);
    let places = items.iter().map(|item| Place {
        path: item.path,
        how: how(item),
        found: members
            .iter()
            .filter(|member| member.of == item.path && member.secret.is_none())
            .map(|member| member.path.clone())
            .collect(),
    });
    Told {
        name: word,
        what,
        level: *level,
        risk,
        needs: needs.iter().map(|right| right.word()).collect(),
        variables: variables
            .iter()
            .map(|variable| match variable {
                Variable::Passed(name) | Variable::Place(name, _) => *name,
            })
            .collect(),
        present: members
            .iter()
            .any(|member| member.counts && member.secret.is_none()),
        places: places.collect(),
        programs: group.programs(caller, survey),
    }
}

const fn how(item: &Item) -> How {
    match item.kind {
        ItemKind::Own => How::Own,
        ItemKind::Home => How::Home,
        ItemKind::Device => How::Device,
        ItemKind::System => How::System,
    }
}

/// Where the second column begins.
const COLUMN: usize = 20;

fn list(page: &mut Page, all: &[Told]) {
    page.heading("Groups of paths");
    for told in all {
        let (tone, there) = if told.present {
            (Tone::Plain, "")
        } else {
            (Tone::Doubt, " (nothing of it is on this machine)")
        };
        page.row(
            &format!("  {}", told.name),
            COLUMN,
            tone,
            &format!("{}{there}", told.what),
        );
    }
    page.heading("Where they may stand");
    for (where_, text) in [
        ("  for one run", "--read group:git"),
        ("  in a policy", "[filesystem] read = [\"group:git\"]"),
        ("  in a manifest", "[filesystem] read = [\"group:git\"]"),
    ] {
        page.verbatim(where_, COLUMN, text);
    }
    page.heading("More");
    page.paragraph(
        2,
        "`belljar policy groups NAME` tells what one stands for on this machine. \
         What a policy denies is denied inside a group too, and no group holds credentials.",
    );
}

fn explain(page: &mut Page, group: Group, told: &Told) {
    page.heading(told.name);
    page.row("  for", COLUMN, Tone::Plain, told.what);
    page.row(
        "  risk",
        COLUMN,
        tone(told.level),
        &format!("{}: {}", told.level, told.risk),
    );
    if !told.needs.is_empty() {
        let flags: Vec<String> = told
            .needs
            .iter()
            .map(|word| format!("--allow {word}"))
            .collect();
        page.row(
            "  under strict",
            COLUMN,
            Tone::Plain,
            &format!("its programs need {} besides", flags.join(" and ")),
        );
    }
    if !told.variables.is_empty() {
        page.row(
            "  variables",
            COLUMN,
            Tone::Plain,
            &told.variables.join(", "),
        );
    }
    for (title, wanted) in [
        ("Read at its own place", How::Own),
        ("Read in the jar's home", How::Home),
        ("Devices, read and written", How::Device),
        ("Of the system, for its programs to start", How::System),
    ] {
        let mut places = told
            .places
            .iter()
            .filter(|place| place.how == wanted)
            .peekable();
        if places.peek().is_none() {
            continue;
        }
        page.heading(title);
        for place in places {
            match place.found.as_slice() {
                [] => page.verbatim("  -", 12, place.path),
                found => {
                    for path in found {
                        page.verbatim("  here", 12, path.as_str());
                    }
                }
            }
        }
    }
    if !told.programs.is_empty() {
        page.heading("Added to the end of PATH");
        for path in &told.programs {
            page.verbatim("", 2, path.as_str());
        }
    }
    if !told.present {
        page.heading("On this machine");
        page.paragraph(
            2,
            &format!("nothing of it is here: `--read {group}` would be refused, and a manifest's optional request dropped"),
        );
    }
}

pub(super) const fn tone(level: Level) -> Tone {
    match level {
        Level::Low => Tone::Plain,
        Level::High => Tone::Doubt,
        Level::Critical => Tone::Bad,
    }
}
