//! What became of attacks in jars: held to the list of guests, and written down
//! for `cargo xtask attacks`.

use std::{fs::OpenOptions, io::Write};

use belljar_attacks::{Event, Guest};
use belljar_plan::Rule;

use crate::{Ended, is_root};

/// Names the file to which each attack that was held appends a row.
const ROWS: &str = "BELLJAR_ATTACK_ROWS";

/// The guest of a run, and where it ran.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attack {
    pub(crate) guest: &'static Guest,
    /// None where the flags name none.
    pub(crate) preset: Option<&'static str>,
}

impl Ended {
    /// Holds a guest's attack to have failed, by the guest's own words.
    ///
    /// # Panics
    /// Where it did not, or where the report should tell of it and does not.
    pub fn stopped(self) -> Self {
        assert!(
            self.status.code() == Some(0) && self.stdout.starts_with("stopped: "),
            "the attack was not stopped: {self:#?}"
        );
        self.held()
    }

    /// Says that an attack was held, for one whose guest cannot tell: writes its
    /// row, and looks for the event that the list expects.
    ///
    /// # Panics
    /// Where the report should tell of it and does not.
    pub fn held(self) -> Self {
        let Some(attack) = self.attack else {
            return self;
        };
        let told = !self.report().violations.is_empty();
        write_row(attack, told);
        assert!(
            told || attack.guest.event == Event::Quiet,
            "no violation in the report: {self:#?}"
        );
        self
    }

    /// Holds the report to tell of a violation of `rule`.
    ///
    /// # Panics
    /// Where it does not.
    pub fn told(self, rule: Rule) -> Self {
        assert!(
            self.report()
                .violations
                .iter()
                .any(|violation| violation.rule == rule),
            "no violation of `{rule}`: {self:#?}"
        );
        self
    }
}

/// Appends `guest preset who layer event`, with tabs between.
fn write_row(attack: Attack, told: bool) {
    let (Some(file), Some(preset)) = (std::env::var_os(ROWS), attack.preset) else {
        return;
    };
    let row = [
        attack.guest.name,
        preset,
        if is_root() { "root" } else { "user" },
        attack.guest.layer,
        if told { "yes" } else { "no" },
    ]
    .join("\t");
    // One write, so that rows of tests that run at once stay whole.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(format!("{row}\n").as_bytes()))
        .unwrap_or_else(|error| panic!("{ROWS}={}: {error}", file.display()));
}
