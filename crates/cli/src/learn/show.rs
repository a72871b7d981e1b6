//! A lesson for people.

use belljar::{
    Outcome,
    learn::{Lesson, Make, Proposal},
};
use belljar_policy::risk::Level;

use super::{
    files::Done,
    merge::{Kind, merge},
};
use crate::page::{Page, Tone};

/// Where the second column begins.
const COLUMN: usize = 14;
/// So many rows of a list are shown; JSON has all.
const ROWS: usize = 20;
/// So many names in a line.
const NAMES: usize = 8;

/// The lesson, the least risk first: of a plugin, or of a bare program, which no
/// manifest asks for.
pub(super) fn lesson(page: &mut Page, lesson: &Lesson, program: bool) {
    used(page, lesson);
    let (optional, needed): (Vec<&Proposal>, Vec<&Proposal>) = lesson
        .proposals
        .iter()
        .partition(|proposal| proposal.optional);
    page.heading("what it lacked, smallest first");
    if needed.is_empty() {
        let words = match lesson.outcome {
            Outcome::Exited { code: 0 } => "nothing",
            _ if !optional.is_empty() => "nothing for sure; look at what it may have done without",
            _ => "nothing that a grant would give",
        };
        page.paragraph(2, words);
    }
    for (number, proposal) in needed.iter().enumerate() {
        whole(page, number + 1, proposal);
    }
    match program {
        true if needed.len() > 1 => as_flags(page, &needed),
        false if needed.len() > 1 => together(page, &needed),
        _ => {}
    }
    if !optional.is_empty() {
        page.heading("what it did without, or may");
        for proposal in &optional {
            short(page, proposal);
        }
    }
    refused(page, lesson);
    names(page, lesson);
}

fn used(page: &mut Page, lesson: &Lesson) {
    if lesson.used.is_empty() {
        return;
    }
    const PLACES: usize = 26;
    page.heading("what it used");
    let mut used: Vec<_> = lesson.used.iter().collect();
    used.sort_by_key(|row| std::cmp::Reverse(row.names));
    for row in used.iter().take(ROWS) {
        let how: Vec<&str> = row.intents.iter().map(|intent| intent.word()).collect();
        let count = match row.names {
            1 => "1 name".to_owned(),
            names => format!("{names} names"),
        };
        let text = format!("{}, {count} ({})", how.join(" "), row.by);
        let place = format!("  {}", row.place.escaped());
        page.row(&place, PLACES, Tone::Plain, &text);
    }
    more(page, used.len());
    if !lesson.unused.is_empty() {
        page.heading("granted, and not used");
        for grant in lesson.unused.iter().take(ROWS) {
            page.paragraph(2, grant);
        }
        more(page, lesson.unused.len());
    }
}

fn whole(page: &mut Page, number: usize, proposal: &Proposal) {
    let names = match proposal.names {
        1 => String::new(),
        names => format!(" ({names} names)"),
    };
    page.row(
        &format!("  {number}."),
        5,
        Tone::Plain,
        &format!("{}{names}", proposal.reason),
    );
    if let Some(command) = command(proposal) {
        page.verbatim("     make first", COLUMN + 3, &command);
    }
    let lines = &proposal.lines;
    let flag: Vec<String> = lines.flag.iter().cloned().collect();
    for (label, lines) in [
        ("     manifest", &lines.manifest),
        ("     policy", &lines.policy),
        ("     flag", &flag),
    ] {
        for line in lines {
            page.verbatim(label, COLUMN + 3, line);
        }
    }
    for risk in &lines.risk {
        page.row("     risk", COLUMN + 3, tone(proposal.level), risk);
    }
}

fn short(page: &mut Page, proposal: &Proposal) {
    let lines = &proposal.lines;
    let line = lines.flag.clone().unwrap_or_else(|| lines.policy.join(" "));
    page.verbatim(&format!("  {}", proposal.level), 12, &line);
    page.row("", 12, Tone::Plain, &proposal.reason);
}

/// What makes what is not there yet.
fn command(proposal: &Proposal) -> Option<String> {
    let path = match &proposal.change {
        belljar::learn::Change::Path { path, .. } => path.as_str(),
        _ => return None,
    };
    let path = format!("'{}'", path.replace('\'', r"'\''"));
    proposal.make.map(|make| match make {
        Make::Directory => format!("mkdir -p -m 700 {path}"),
        Make::File => format!("touch {path}"),
    })
}

/// All that was lacking as one manifest and one policy.
fn together(page: &mut Page, needed: &[&Proposal]) {
    for (kind, words) in [
        (Kind::Manifest, "all of it, as a manifest asks"),
        (Kind::Policy, "all of it, as a policy grants"),
    ] {
        let all: Vec<&Proposal> = needed
            .iter()
            .copied()
            .filter(|proposal| kind.takes(proposal))
            .collect();
        if let Ok(text) = merge("", kind, None, None, &all)
            && !text.is_empty()
        {
            page.heading(words);
            for line in text.lines() {
                page.verbatim("", 4, line);
            }
        }
    }
}

/// The same for a program that has no manifest: what it is granted by.
fn as_flags(page: &mut Page, needed: &[&Proposal]) {
    let flags: Vec<&str> = needed
        .iter()
        .filter_map(|proposal| proposal.lines.flag.as_deref())
        .collect();
    if !flags.is_empty() {
        page.heading("all of it, as flags of `belljar run`");
        for flag in flags {
            page.verbatim("", 4, flag);
        }
    }
}

fn refused(page: &mut Page, lesson: &Lesson) {
    if lesson.refused.is_empty() {
        return;
    }
    page.heading("refused, and no line gives it");
    for row in lesson.refused.iter().take(ROWS) {
        page.paragraph(2, &row.question);
        page.row("", 4, Tone::Plain, &row.reason);
    }
    more(page, lesson.refused.len());
}

fn names(page: &mut Page, lesson: &Lesson) {
    if !lesson.absent.is_empty() {
        page.heading("asked for, and not on this machine either");
        let shown: Vec<String> = lesson
            .absent
            .iter()
            .take(NAMES)
            .map(belljar::Bytes::escaped)
            .collect();
        let rest = match lesson.absent.len().saturating_sub(NAMES) {
            0 => String::new(),
            rest => format!(", and {rest} more"),
        };
        page.paragraph(2, &format!("{}{rest}", shown.join(", ")));
    }
    if lesson.unlisted > 0 {
        page.heading("left out");
        page.paragraph(2, &format!("{} names, for want of room", lesson.unlisted));
    }
}

fn more(page: &mut Page, count: usize) {
    if count > ROWS {
        page.paragraph(2, &format!("and {} more, which --json has", count - ROWS));
    }
}

/// What became of the files, or how they would be updated.
pub(super) fn updates(page: &mut Page, done: &[Done], lesson: &Lesson, none: bool, program: bool) {
    for path in done.first().into_iter().flat_map(|first| &first.made) {
        page.heading(&format!("made {path}, empty, for nobody but you"));
    }
    for file in done {
        page.heading(&format!("{} ({})", file.name, file.kind.word()));
        if file.diff.is_empty() {
            page.paragraph(2, "nothing to change");
        }
        for line in file.diff.lines() {
            let tone = match line.as_bytes() {
                [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => Tone::Plain,
                [b'+', ..] => Tone::Good,
                [b'-', ..] => Tone::Bad,
                _ => Tone::Plain,
            };
            page.line(tone, line);
        }
        if file.left > 0 {
            let lines = match file.left {
                1 => "1 line is".to_owned(),
                lines => format!("{lines} lines are"),
            };
            page.paragraph(
                2,
                &format!(
                    "{lines} left out, for the risk or since the run did without: `--accept high`, `--accept critical`, `--keep` and `--optional` take them too"
                ),
            );
        }
    }
    let asks = |kind| {
        done.iter()
            .any(|file| file.kind == kind && !file.diff.is_empty())
    };
    if asks(Kind::Manifest) && !done.iter().any(|file| file.kind == Kind::Policy) {
        page.paragraph(
            2,
            "a manifest only asks: a policy has to grant it, which a further `--update policy.toml` writes, and `--policy policy.toml` names",
        );
    }
    let lacking = lesson.proposals.iter().any(|proposal| !proposal.optional);
    if lacking && none && !program {
        page.heading("to keep it");
        page.paragraph(
            2,
            "`belljar learn --update FILE` merges these lines into a manifest or a policy",
        );
    }
    let by_flag_alone = |proposal: &Proposal| proposal.lines.policy.is_empty();
    if !none && program && lesson.proposals.iter().any(by_flag_alone) {
        page.paragraph(
            2,
            "a bare program gets paths, and more of a limit, by flags alone: no file keeps these lines",
        );
    }
}

const fn tone(level: Level) -> Tone {
    match level {
        Level::Low => Tone::Good,
        Level::High => Tone::Doubt,
        Level::Critical => Tone::Bad,
    }
}
