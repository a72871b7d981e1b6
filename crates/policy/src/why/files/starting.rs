//! Starting a program, and what starts it in its turn.

use belljar_plan::{Preset, Rule, filter::Code, landlock::Right};

use super::{Ask, is_of_task, nothing_in_proc};
use crate::{
    path::UnixPath,
    why::{
        Finding, Verdict,
        view::{ENTER, EntryKind, Shows, Start, Terminal, What, terminal},
    },
};

impl Ask<'_> {
    pub(super) fn starting(&self, path: &UnixPath, depth: usize) -> Finding {
        let spot = match self.view.walk(path, true) {
            Ok(spot) => spot,
            Err(stop) => return self.stopped(stop),
        };
        let what = match &spot.what {
            What::Hidden => return self.hidden(&spot.path),
            What::Inside if self.is_root_of_mount(&spot) => {
                return Finding::denied(Rule::Files, "EACCES", "a directory is no program");
            }
            What::Inside => match self.view.mount_of(&spot) {
                Some(mount)
                    if matches!(mount.shows, Shows::Scratch) && !mount.attributes.no_exec =>
                {
                    return self.absent_or(
                        "ENOENT",
                        Finding::allowed(
                            Rule::Files,
                            "it is the jar's own scratch, from which programs may be started",
                        ),
                    );
                }
                Some(mount) if matches!(mount.shows, Shows::Scratch) => {
                    return self.absent_or("ENOENT", self.no_exec());
                }
                Some(mount) if matches!(mount.shows, Shows::Proc) && !is_of_task(&spot.path) => {
                    return match self.machine.entry(&spot.path) {
                        Ok(_) => self.no_exec(),
                        Err(errno) => nothing_in_proc(errno),
                    };
                }
                Some(mount)
                    if matches!(mount.shows, Shows::Terminals)
                        && matches!(terminal(&spot.path), Terminal::Nothing) =>
                {
                    return self.terminal(&spot);
                }
                _ => return self.no_exec(),
            },
            What::Directory => {
                return Finding::denied(Rule::Files, "EACCES", "a directory is no program");
            }
            What::File { mode } => {
                if mode & 0o100 == 0 {
                    return Finding::denied(
                        Rule::Files,
                        "EACCES",
                        "the plugin's file is not marked executable",
                    );
                }
                None
            }
            What::Machine { path, entry } => {
                if entry.kind != EntryKind::File {
                    return Finding::denied(Rule::Files, "EACCES", "it is no regular file");
                }
                Some(path)
            }
        };
        if self
            .view
            .mount_of(&spot)
            .is_some_and(|mount| mount.attributes.no_exec)
        {
            return self.no_exec();
        }
        if !self.view.may(&spot, ENTER) {
            return self.refused_by_mode(&spot);
        }
        if !self.view.landlock_allows(&spot, Right::Execute) {
            return self.refused_by_landlock(&spot);
        }
        // The loader or interpreter is opened as the program is, by its own path.
        match what.map_or(Start::Itself, |path| self.machine.start(path)) {
            Start::Itself => {}
            Start::Nothing => {
                return Finding::not_there("ENOEXEC", "it is executable and no program");
            }
            Start::By(_) if depth >= 5 => {
                return Finding::not_there(
                    "ELOOP",
                    "its interpreters name one another without end",
                );
            }
            Start::By(needed) => {
                let of_that = self.starting(&needed, depth + 1);
                if of_that.verdict != Verdict::Allowed {
                    return Finding {
                        reason: format!("it is started by {needed}: {}", of_that.reason),
                        ..of_that
                    };
                }
            }
        }
        self.allowed(&spot, "started")
    }

    pub(super) fn no_exec(&self) -> Finding {
        let strict = self.plan.preset == Preset::Strict;
        let fixed = self
            .plan
            .filter
            .as_ref()
            .is_some_and(|filter| filter.code != Code::Any);
        Finding::denied(
            match strict && fixed {
                true => Rule::WritableCode,
                false => Rule::Files,
            },
            "EACCES",
            "nothing is started from there: what can be written can't be run",
        )
    }
}
