//! Launches of programs that are not there: every step of such a plan can be
//! done on a machine, up to the start of a program, and then there is none. So
//! what a machine can hold is seen without running anything, and told
//! beforehand by the very planner that launches are planned by.

use std::collections::BTreeMap;

use belljar_plan::{Plan, Preset, Rule};
use sha2::{Digest as _, Sha256};

use crate::{
    HostFacts, Manifest, Policy, Refusal, UnixPath, Verified,
    facts::PlaceKind,
    manifest::{self, Format},
    planner::hexadecimal,
    verified::{
        Caller, Candidate, Executable, ExecutableKind, FileKind, Found, Plugin, PluginEntry,
        PluginEntryKind, Program, ProgramBytes, Subject, Survey,
    },
};

/// The only file of the plugin's image.
pub const FILE: &[u8] = b"nothing\n";

/// A plugin whose entry is missing, and whose one file is [`FILE`].
///
/// # Panics
/// Never: its manifest is written here.
#[must_use]
pub fn plugin() -> Verified {
    let manifest = "[plugin]\nname = \"trial\"\nversion = \"1.0.0\"\nentry = \"not-there\"\n";
    let manifest = Manifest::parse(manifest, Format::Toml, "the trial's manifest")
        .expect("the trial's own manifest is one");
    let root = UnixPath::root();
    Verified {
        subject: Subject::Plugin(Box::new(Plugin {
            manifest,
            directory: root.clone(),
            arguments: Vec::new(),
            files: vec![PluginEntry {
                path: "file".to_owned(),
                kind: PluginEntryKind::File {
                    executable: false,
                    offset: 0,
                    length: FILE.len() as u64,
                },
            }],
            image: hexadecimal(&Sha256::digest(FILE)),
            entry: Ok(program_at(root)),
            writable_code: None,
        })),
        caller: Caller::default(),
        survey: Survey(BTreeMap::new()),
        writable_code: Default::default(),
        project: None,
    }
}

/// A program of the system's that is not there; none on a machine without a
/// directory of programs.
#[must_use]
pub fn program(facts: &HostFacts) -> Option<Verified> {
    let at = facts
        .layout
        .system
        .iter()
        .find(|place| matches!(place.kind, PlaceKind::Directory { .. }))
        .and_then(|place| place.path.join("belljar-trial-not-there").ok())?;
    Some(Verified {
        subject: Subject::Program(Program {
            asked: at.as_str().into(),
            arguments: Vec::new(),
            candidates: vec![Candidate {
                path: at.clone(),
                found: Ok(program_at(at)),
            }],
            bytes: ProgramBytes::AtPath,
        }),
        caller: Caller::default(),
        survey: Survey(BTreeMap::new()),
        writable_code: Default::default(),
        project: None,
    })
}

/// What a jar of this preset would be on a machine with these facts.
///
/// # Errors
/// [`Refusal`], where the machine cannot hold what the preset demands.
pub fn of_preset(preset: Preset, facts: &HostFacts) -> Result<Plan, Refusal> {
    crate::plan(&plugin(), &Policy::of(preset), facts)
}

/// What is to be planned for a trial with a directory granted, as if it were root's
/// alone: then root's jar sees it by an idmapped mount or not at all.
#[must_use]
pub fn granting(directory: &Found) -> (Verified, Policy) {
    let mut verified = plugin();
    let closed = Found {
        uid: 0,
        gid: 0,
        mode: 0o700,
        // Whatever was thought of its file system: this is the trial.
        idmap: true,
        ..directory.clone()
    };
    verified.survey.0.insert(directory.path.clone(), Ok(closed));
    let mut policy = Policy::standard();
    policy.flags.read.push(manifest::Place {
        path: directory.path.clone(),
        at: UnixPath::new("/granted").ok(),
    });
    (verified, policy)
}

/// What there would be without namespaces, where the machine refuses them and an
/// operator accepts what is lost by it: the plan, and the rules to accept. None
/// where that is not possible either, or not needed.
#[must_use]
pub fn without_namespaces(facts: &HostFacts) -> Option<(Plan, Vec<Rule>)> {
    let program = program(facts)?;
    let Err(Refusal::Unmet { unmet }) = crate::plan(&program, &Policy::standard(), facts) else {
        return None;
    };
    let lost: Vec<Rule> = unmet.iter().map(|unmet| unmet.rule).collect();
    let accepting = lost
        .iter()
        .fold(Policy::standard(), |policy, rule| policy.best_effort(*rule));
    let plan = crate::plan(&program, &accepting, facts).ok()?;
    let has_namespaces = plan.steps.iter().any(
        |step| matches!(step, belljar_plan::Step::Clone { namespaces } if namespaces.bits() != 0),
    );
    (!has_namespaces).then_some((plan, lost))
}

fn program_at(path: UnixPath) -> Executable {
    Executable {
        file: Found {
            path,
            kind: FileKind::File,
            device: 0,
            inode: 0,
            uid: 0,
            gid: 0,
            mode: 0o755,
            idmap: false,
        },
        kind: ExecutableKind::Elf {
            loader: None,
            libraries: Vec::new(),
            missing: Vec::new(),
            runtime: Vec::new(),
            writable_code: false,
            go: false,
            elsewhere: Vec::new(),
        },
    }
}
