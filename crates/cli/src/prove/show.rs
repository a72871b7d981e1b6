//! A proof for people.

use belljar_policy::data::{
    Proof,
    proof::{Trial, Verdict},
};

use crate::page::{Page, Tone};

/// Where a rule's text begins, and what belongs to a probe.
const RULE: usize = 15;
const PROBE: usize = 17;

/// Every rule with what was tried of it, then what was not as in a run.
pub(super) fn proof(page: &mut Page, proof: &Proof) {
    let of = match &proof.plugin {
        Some(plugin) => format!("plugin {} {}", plugin.name, plugin.version),
        None => proof.program.escaped(),
    };
    page.heading(&format!("What was tried of the plan for {of}"));
    page.row("preset", RULE, Tone::Plain, proof.preset.word());
    page.verbatim("plan", RULE, &proof.plan_digest);

    page.heading("Rules");
    for rule in &proof.rules {
        let verdict = match &rule.reason {
            Some(reason) if rule.verdict != Verdict::Held => {
                format!("{}: {reason}", words(rule.verdict))
            }
            _ => words(rule.verdict).to_owned(),
        };
        page.row(rule.rule.word(), RULE, tone(rule.verdict), &verdict);
        for trial in &rule.trials {
            tried(page, trial);
        }
    }

    page.heading("What differs from the plan of a run");
    for difference in &proof.differences {
        page.row("  -", 4, Tone::Plain, difference);
    }

    page.heading("In all");
    let counts: Vec<String> = Verdict::ALL
        .iter()
        .map(|verdict| (proof.count(*verdict), words(*verdict)))
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    page.paragraph(0, &counts.join(", "));
}

fn tried(page: &mut Page, trial: &Trial) {
    let said = |what: &str, answer: &str| format!("{what}: {answer}");
    let mut text = said(&trial.probe.what, &trial.probe.answer);
    match (trial.verdict, &trial.reason) {
        (Verdict::Held, _) | (_, None) => {}
        // What is there already is not said twice.
        (_, Some(reason)) if *reason == text => {}
        (_, Some(reason)) => text = format!("{text} ({reason})"),
    }
    let tone = match trial.verdict {
        Verdict::Held => Tone::Plain,
        other => tone(other),
    };
    page.row("", RULE, tone, &text);
    if let Some(control) = &trial.control {
        page.row(
            "",
            PROBE,
            Tone::Plain,
            &said(&format!("control: {}", control.what), &control.answer),
        );
    }
    if let Some(without) = &trial.without {
        page.row(
            "",
            PROBE,
            Tone::Plain,
            &said(&without.what, &without.answer),
        );
    }
}

const fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Held => Tone::Good,
        Verdict::Broken => Tone::Bad,
        Verdict::NotProbed => Tone::Doubt,
        Verdict::NotClaimed | Verdict::NotAskedFor => Tone::Plain,
    }
}

const fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "held",
        Verdict::Broken => "broken",
        Verdict::NotClaimed => "not claimed",
        Verdict::NotProbed => "not probed",
        Verdict::NotAskedFor => "not asked for",
    }
}

#[cfg(test)]
mod tests {
    use belljar_policy::data::{
        Preset, Rule, Strength,
        plan::Enforcement,
        proof::{Proved, SCHEMA, Tried},
    };

    use super::*;

    #[test]
    fn a_proof_tells_rule_probe_control_and_verdict_and_steers_no_terminal() {
        let tried = |what: &str, answer: &str| Tried {
            what: what.to_owned(),
            answer: answer.to_owned(),
        };
        let trial = Trial {
            probe: tried("read \x1b[2J", "done"),
            control: Some(tried("read its own", "done")),
            without: Some(tried("the same without a jar", "done")),
            verdict: Verdict::Broken,
            reason: Some("read \x1b[2J: done".to_owned()),
        };
        let claim = Enforcement {
            mechanism: "nothing".to_owned(),
            strength: Strength::Kernel,
        };
        let whole = Proof {
            schema: SCHEMA,
            preset: Preset::Strict,
            plugin: None,
            program: "/bin/x".into(),
            plan_digest: "12".repeat(32),
            differences: vec!["exec starts the prober".to_owned()],
            rules: vec![Proved::of_trials(Rule::Files, claim, vec![trial])],
        };
        let mut page = Page::default();
        proof(&mut page, &whole);
        assert!(!page.text().contains('\x1b'));
        for part in [
            "files          broken: read \\u{1b}[2J: done\n",
            "\n                 control: read its own: done\n",
            "\n                 the same without a jar: done\n",
            "\n1 broken\n",
        ] {
            assert!(page.text().contains(part), "{part}\n{}", page.text());
        }
    }
}
