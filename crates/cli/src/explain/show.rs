//! A plan, for people.

use belljar::Plan;
use belljar_policy::{
    data::{
        Bytes, Limit, Step, Strength,
        filter::{Code, Exec, Unix},
        plan::{MachineIdentity, PlannedRule},
    },
    seccomp,
    units::format_value,
};

use crate::page::{Page, Tone};

/// Where the second column begins.
const COLUMN: usize = 16;

/// The whole plan.
pub(super) fn plan(page: &mut Page, plan: &Plan, digest: &str) {
    let what = match &plan.plugin {
        Some(plugin) => format!("plugin {} {}", plugin.name, plugin.version),
        None => format!("program {}", plan.program.escaped()),
    };
    page.heading(&what);
    page.verbatim("  digest", COLUMN, digest);
    let word = plan.rules.first().map(|rule| rule.origin.as_str());
    let preset = match word {
        Some("default") => "by default".to_owned(),
        Some(origin) if !origin.starts_with("--require") => format!("by {origin}"),
        _ => String::new(),
    };
    page.row(
        "  preset",
        COLUMN,
        Tone::Plain,
        &format!("{} {preset}", plan.preset),
    );
    page.row("  runs as", COLUMN, Tone::Plain, &identity(plan));
    rules(page, plan);
    files(page, plan);
    calls(page, plan);
    limits(page, plan);
    listed(
        page,
        "Weaker than the preset",
        Tone::Bad,
        plan.weakenings.iter().cloned(),
    );
    listed(
        page,
        "Asked for and not granted (optional)",
        Tone::Doubt,
        plan.dropped
            .iter()
            .map(|dropped| format!("{}: {}", dropped.request, dropped.reason)),
    );
    listed(
        page,
        "Said besides",
        Tone::Plain,
        plan.said
            .iter()
            .map(|(what, origin)| format!("{what}: {origin}")),
    );
    listed(page, "To know", Tone::Plain, plan.notes.iter().cloned());
    steps(page, plan);
}

fn identity(plan: &Plan) -> String {
    let inside = format!("uid {} gid {} inside", plan.identity.uid, plan.identity.gid);
    let outside = match plan.identity.machine {
        MachineIdentity::Caller { uid, gid } => {
            format!("uid {uid} gid {gid} on the machine, who started it")
        }
        MachineIdentity::Own { first, count } => format!(
            "an unused uid and gid of the machine between {first} and {}",
            first.saturating_add(count - 1)
        ),
    };
    format!("{inside}; {outside}")
}

fn rules(page: &mut Page, plan: &Plan) {
    page.heading("Rules");
    for rule in &plan.rules {
        let (tone, verdict) = verdict(plan, rule);
        page.row(&format!("  {}", rule.rule), COLUMN, tone, &verdict);
        page.paragraph(COLUMN, &rule.planned.mechanism);
        if !rule.steps.is_empty() {
            page.paragraph(COLUMN, &format!("steps {}", numbers(&rule.steps)));
        }
    }
}

fn verdict(plan: &Plan, rule: &PlannedRule) -> (Tone, String) {
    let held = rule.planned.strength;
    let by = origin(plan, &rule.origin);
    match rule.requested {
        Strength::None => match held {
            Strength::None => (Tone::Plain, format!("not held (not asked for, {by})")),
            held => (Tone::Good, format!("{held} (not asked for, {by})")),
        },
        asked if held >= asked => (Tone::Good, format!("{held} (asked: {asked}, {by})")),
        asked => {
            let accepted = plan
                .said
                .get(&format!("best_effort {}", rule.rule))
                .map_or_else(String::new, |origin| format!("; less accepted by {origin}"));
            (
                Tone::Bad,
                format!("{held} (asked: {asked}, {by}{accepted})"),
            )
        }
    }
}

/// Whose word it is, the preset by its name.
fn origin(plan: &Plan, origin: &str) -> String {
    match origin {
        "default" => format!("preset {}", plan.preset),
        "--preset" => format!("--preset {}", plan.preset),
        origin if origin.starts_with("--require") => origin.to_owned(),
        origin => format!("preset {} ({origin})", plan.preset),
    }
}

/// `3, 5-9`, as the steps are numbered below.
fn numbers(steps: &[u16]) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for step in steps {
        match runs.last_mut() {
            Some((_, last)) if *step == *last + 1 => *last = *step,
            _ => runs.push((*step, *step)),
        }
    }
    runs.iter()
        .map(|(first, last)| match first == last {
            true => (first + 1).to_string(),
            false => format!("{}-{}", first + 1, last + 1),
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn files(page: &mut Page, plan: &Plan) {
    if !plan.grants.is_empty() {
        page.heading("Granted");
        for grant in &plan.grants {
            let word = if grant.write { "  write" } else { "  read" };
            let at = match grant.at == grant.path {
                true => String::new(),
                false => format!(" at {}", grant.at.escaped()),
            };
            page.row(
                word,
                COLUMN,
                Tone::Plain,
                &format!("{}{at} ({})", grant.path.escaped(), grant.origin),
            );
        }
    }
    listed(
        page,
        "Hidden",
        Tone::Plain,
        plan.hidden
            .iter()
            .map(|hidden| format!("{} ({})", hidden.path.escaped(), hidden.origin)),
    );
    listed(
        page,
        "Sockets that may be connected to",
        Tone::Plain,
        plan.sockets.iter().map(|socket| socket.path.escaped()),
    );
}

fn calls(page: &mut Page, plan: &Plan) {
    page.heading("System calls");
    let Some(asked) = &plan.filter else {
        return page.paragraph(2, "no filter");
    };
    if let Ok(filter) = seccomp::Filter::new(asked) {
        let (mut allowed, mut refused, mut by_arguments) = (0, 0, 0);
        for (_, decision) in filter.decisions() {
            match (decision.clauses.is_empty(), decision.otherwise) {
                (false, _) => by_arguments += 1,
                (true, seccomp::Verdict::Deny(_)) => refused += 1,
                (true, _) => allowed += 1,
            }
        }
        page.row(
            "  list",
            COLUMN,
            Tone::Plain,
            &format!("{allowed} allowed, {by_arguments} by their arguments, {refused} refused, and all that are not known"),
        );
    }
    let exec = match asked.exec {
        Exec::Any => "any that can be seen",
        Exec::Once => "the plugin itself, once",
        Exec::None => "none",
    };
    let code = match asked.code {
        Code::Any => "may be made while it runs",
        Code::Fixed | Code::FixedByMdwe => "none that was written becomes executable",
        Code::Closed => "none becomes executable any more",
    };
    let unix = match asked.unix {
        Unix::Visible => "whatever can be seen; none of the machine's can",
        Unix::Pairs => "pairs that are connected from the start",
        Unix::Performed => "what the supervisor connects them to",
    };
    let events = match asked.events {
        true => "rare denials are told of",
        false => "no denial is seen",
    };
    for (label, text) in [
        ("  programs", exec),
        ("  code", code),
        ("  unix sockets", unix),
        ("  events", events),
    ] {
        page.row(label, COLUMN, Tone::Plain, text);
    }
    for (label, list) in [
        ("  allowed too", &asked.allow),
        ("  denied too", &asked.deny),
    ] {
        if !list.is_empty() {
            page.row(label, COLUMN, Tone::Plain, &list.join(", "));
        }
    }
    if !plan.end_on.is_empty() {
        let rules: Vec<&str> = plan.end_on.iter().map(|rule| rule.word()).collect();
        page.row("  ends the jar", COLUMN, Tone::Plain, &rules.join(", "));
    }
}

fn limits(page: &mut Page, plan: &Plan) {
    page.heading("Limits");
    for limit in Limit::ALL {
        let planned = plan.limit(*limit);
        let value = |value: Option<u64>| {
            value.map_or_else(|| "none".to_owned(), |value| format_value(*limit, value))
        };
        let text = match planned {
            None => "none".to_owned(),
            Some(planned) => {
                let soft = planned
                    .soft
                    .map_or_else(String::new, |soft| format!("soft {}, ", value(Some(soft))));
                let stop = if planned.stop {
                    ", which ends the jar"
                } else {
                    ""
                };
                format!(
                    "{soft}hard {}{stop} ({})",
                    value(planned.hard),
                    planned.origin
                )
            }
        };
        page.row(&format!("  {limit}"), COLUMN, Tone::Plain, &text);
    }
}

fn listed(page: &mut Page, heading: &str, tone: Tone, items: impl Iterator<Item = String>) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return;
    }
    page.heading(heading);
    for item in items {
        page.row("  -", 4, tone, &item);
    }
}

fn steps(page: &mut Page, plan: &Plan) {
    page.heading("Steps, in their order");
    page.paragraph(2, "the launcher:");
    for (index, step) in plan.steps.iter().enumerate() {
        let rules: Vec<&str> = plan
            .rules
            .iter()
            .filter(|rule| rule.steps.iter().any(|of| usize::from(*of) == index))
            .map(|rule| rule.rule.word())
            .collect();
        let mut text = plan.describe_step(index);
        if let Step::Exec { arguments, .. } = step {
            let words: Vec<String> = arguments.iter().map(Bytes::escaped).collect();
            text = format!("{text} ({})", words.join(" "));
        }
        if !rules.is_empty() {
            text = format!("{text} [{}]", rules.join(" "));
        }
        page.row(&format!("  {:>4}  ", index + 1), 8, Tone::Plain, &text);
        match step {
            Step::Clone { .. } => page.paragraph(2, "the jar's first process:"),
            Step::Fork {} => page.paragraph(2, "the guest's own process:"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_in_a_row_are_told_as_a_run_from_one_on() {
        assert_eq!(numbers(&[]), "");
        assert_eq!(numbers(&[0]), "1");
        assert_eq!(numbers(&[0, 2, 3, 4, 9]), "1, 3-5, 10");
    }
}
