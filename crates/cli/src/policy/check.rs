//! `belljar policy check`: is it a policy, and what does it give away?

use std::{ffi::OsString, fs};

use belljar_policy::{
    Policy, UnixPath,
    policy::Warning,
    risk::{Level, Risk, Surroundings},
};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::{PolicyCommandError, groups::tone, read};
use crate::page::{Page, Tone, print_json};

/// `belljar policy check`
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// A policy (TOML or JSON); with #TABLE, what that table in it says
    #[arg(value_name = "FILE[#TABLE]")]
    file: OsString,

    /// End with 1 where a line gives away something of high or critical worth
    #[arg(long)]
    strict: bool,

    /// Tell it in JSON
    #[arg(long)]
    json: bool,
}

/// What was found in a policy that is one.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Checked {
    /// What its lines give away, in their order.
    warnings: Vec<Warning>,
    /// Paths that are granted and are not on this machine.
    missing: Vec<Missing>,
}

/// A path that is granted and is not there.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Missing {
    /// Where it was said.
    origin: String,
    /// The path.
    path: UnixPath,
}

pub(super) fn run(options: &Options) -> Result<u8, PolicyCommandError> {
    let policy = read("FILE", &options.file)?;
    let around = Surroundings::of(&belljar::verify::caller());
    let mut warnings = policy.warnings(&around, &leads_to);
    warnings.extend(over_itself(&policy, &options.file));
    let checked = Checked {
        warnings,
        missing: missing(&policy),
    };
    let serious = checked
        .warnings
        .iter()
        .any(|warning| warning.risk.level > Level::Low);
    if options.json {
        print_json(&checked)?;
    } else {
        let mut page = Page::for_stdout();
        show(&mut page, &options.file.to_string_lossy(), &checked);
        page.print()?;
    }
    Ok(u8::from(options.strict && serious))
}

/// Grants by which a guest could write what its next run is granted.
fn over_itself(policy: &Policy, said: &OsString) -> Vec<Warning> {
    let name = said.to_string_lossy();
    let whole = fs::canonicalize(said).ok();
    let file = whole.or_else(|| fs::canonicalize(name.rsplit_once('#')?.0).ok());
    let file = file.and_then(|file| UnixPath::new(file.to_str()?).ok());
    let Some(file) = file else { return Vec::new() };
    let all = std::iter::once((None, policy)).chain(
        policy
            .plugins
            .iter()
            .map(|(name, own)| (Some(name.clone()), own)),
    );
    all.flat_map(|(plugin, policy)| {
        let write = policy.ceilings.iter().flat_map(|ceilings| &ceilings.write);
        let file = &file;
        write
            .filter(move |said| {
                let real = leads_to(&said.value);
                file.is_within(real.as_ref().unwrap_or(&said.value))
            })
            .map(move |said| Warning {
                plugin: plugin.clone(),
                origin: said.origin.clone(),
                line: format!("filesystem.write {}", said.value),
                risk: Risk {
                    level: Level::Critical,
                    words:
                        "this policy lies in it: what a guest writes there is its own next grant"
                            .to_owned(),
                },
            })
    })
    .collect()
}

/// Follows a path's links.
fn leads_to(path: &UnixPath) -> Option<UnixPath> {
    UnixPath::new(fs::canonicalize(path.as_str()).ok()?.to_str()?).ok()
}

fn missing(policy: &Policy) -> Vec<Missing> {
    let policies = std::iter::once(policy).chain(policy.plugins.values());
    policies
        .filter_map(|policy| policy.ceilings.as_ref())
        .flat_map(|file| file.read.iter().chain(&file.write))
        .filter(|said| fs::symlink_metadata(said.value.as_str()).is_err())
        .map(|said| Missing {
            origin: said.origin.clone(),
            path: said.value.clone(),
        })
        .collect()
}

/// Where the second column begins.
const COLUMN: usize = 12;

fn show(page: &mut Page, file: &str, checked: &Checked) {
    for warning in &checked.warnings {
        page.heading(&warning.origin);
        let plugin = warning.plugin.as_ref();
        let plugin = plugin.map_or_else(String::new, |name| format!("plugin {name}: "));
        let level = warning.risk.level;
        page.row(
            &format!("  {level}"),
            COLUMN,
            tone(level),
            &format!("{plugin}{}", warning.line),
        );
        page.row("", COLUMN, Tone::Plain, &warning.risk.words);
    }
    for missing in &checked.missing {
        page.heading(&missing.origin);
        page.row(
            "  note",
            COLUMN,
            Tone::Plain,
            &format!(
                "{} is not on this machine, and grants nothing",
                missing.path
            ),
        );
    }
    let count = |level| {
        let all = checked.warnings.iter();
        all.filter(|warning| warning.risk.level == level).count()
    };
    page.heading(&format!(
        "{file} is a policy; its warnings: {} critical, {} high, {} low",
        count(Level::Critical),
        count(Level::High),
        count(Level::Low)
    ));
}
