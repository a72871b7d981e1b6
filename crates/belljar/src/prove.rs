//! Tries what a plan claims: for each rule something that must be denied in the
//! jar, something that must be allowed there, and where that is harmless the
//! first once more without a jar, where it must succeed.
//!
//! The plan is that of a run. It is launched with a small program of Belljar's
//! own in the place of the real one, which is not started, and the proof names
//! every other difference. What a rule is tried with is one place, `table`;
//! limits have jars of their own, in `limits`.
//!
//! What is made outside for that (`outside`) is gone when the proof is there, when
//! an error is, and when the future is dropped.

#[cfg(feature = "break-plan")]
mod broken;
mod cleanup;
mod judge;
mod limits;
mod outside;
mod prober;
mod rates;
mod seen;
mod table;

use std::{io, sync::Arc, time::Duration};

use belljar_plan::{
    Outcome, Plan, Rule, Strength,
    probe::Probe,
    proof::{Proof, Proved, SCHEMA, Trial, Verdict},
};

use self::{
    judge::{Asked, Check},
    outside::Outside,
    prober::{InJar, Stand},
};
use crate::{
    error::LaunchError,
    jar::Jar,
    launch::{ATTEMPTS, Decided, Engine, Learnt},
    report, sys,
};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// There is no plan, or a jar of it could not be launched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// What a probe needs outside of the jar could not be had.
    #[error("cannot {what}")]
    Outside {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The machine is too busy, or something hangs.
    #[error("it took more than {} s, and shows nothing", WHOLE.as_secs())]
    TooLong,
}

/// Nothing takes longer, whatever hangs.
const WHOLE: Duration = Duration::from_secs(30);

impl ProveError {
    fn outside(what: &str) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_owned();
        move |source| Self::Outside { what, source }
    }
}

/// Tries what the plan of this jar claims, on this machine, as this user. The
/// program itself is not started, and the jar's streams, task and report lead
/// nowhere.
///
/// It takes a second or two, and never more than half a minute. Works on any
/// executor.
///
/// # Errors
/// Where there is no plan, where its jar cannot be launched, and where what is
/// needed outside cannot be made. That a claim does not hold is no error: see
/// [`Proof::holds`].
pub async fn prove(jar: Jar) -> Result<Proof, ProveError> {
    if !sys::SUPPORTED {
        return Err(LaunchError::Unsupported.into());
    }
    let decided = jar.prepare()?.into_decided();
    let engine = Engine::get().map_err(ProveError::outside("start the thread `belljar`"))?;
    // It holds many jars' worth of state, more than a host's thread may have stack for.
    prober::within(&engine, WHOLE, Box::pin(of_plan(decided, &engine)))
        .await
        .unwrap_or(Err(ProveError::TooLong))
}

async fn of_plan(mut decided: Decided, engine: &Engine) -> Result<Proof, ProveError> {
    let outside = Outside::make(&decided.plan, engine).await?;
    let mut attempt = 0;
    let (asked, main) = loop {
        attempt += 1;
        let asked = Asked::all(&decided.plan, &outside);
        match first_jar(&decided, &outside, engine, &asked).await {
            Err(ProveError::Launch(LaunchError::Ended { report })) if attempt < ATTEMPTS => {
                learn(&mut decided, &report.outcome)?;
            }
            other => break (asked, other?),
        }
    };
    let plan = Arc::clone(&decided.plan);
    let without = outside.try_plainly(&asked.without(), engine).await?;
    let (limits, cleanup) = tokio::join!(
        Box::pin(limits::all(&decided, &outside, engine, &main)),
        Box::pin(cleanup::seen(&decided, &outside, engine)),
    );
    let limits: Vec<_> = limits
        .into_iter()
        .chain(Box::pin(rates::all(&decided, &outside, engine)).await)
        .collect();
    let mut differences = Stand::of(&plan, &outside).differences(&plan);
    differences.extend(limits.iter().filter_map(|tried| tried.difference.clone()));

    let mut trials = asked.judge(&plan, &main, &without);
    trials.extend(seen::trials(&plan, &main));
    trials.extend(limits.into_iter().flat_map(|tried| {
        let rule = tried.rule;
        tried.trials.into_iter().map(move |trial| (rule, trial))
    }));
    trials.extend(cleanup.into_iter().map(|trial| (Rule::Cleanup, trial)));
    Ok(Proof {
        schema: SCHEMA,
        preset: plan.preset,
        plugin: plan.plugin.clone(),
        program: plan.program.clone(),
        plan_digest: decided.digest.to_string(),
        differences,
        rules: rules(&plan, trials),
    })
}

/// Every claim with what was tried of it.
fn rules(plan: &Plan, mut trials: Vec<(Rule, Trial)>) -> Vec<Proved> {
    plan.rules
        .iter()
        .map(|planned| {
            let (of_rule, others) = std::mem::take(&mut trials)
                .into_iter()
                .partition(|(rule, _)| *rule == planned.rule);
            trials = others;
            let claim = planned.planned.clone();
            let untried = |verdict| Proved {
                rule: planned.rule,
                verdict,
                reason: (verdict == Verdict::NotClaimed).then(|| claim.mechanism.clone()),
                claim: claim.clone(),
                trials: Vec::new(),
            };
            match (planned.rule, claim.strength) {
                (Rule::Cpu | Rule::Io, Strength::None) => untried(Verdict::NotAskedFor),
                (_, Strength::None) => untried(Verdict::NotClaimed),
                (rule, _) => {
                    let of_rule: Vec<(Rule, Trial)> = of_rule;
                    let trials = of_rule.into_iter().map(|(_, trial)| trial).collect();
                    Proved::of_trials(rule, claim, trials)
                }
            }
        })
        .collect()
}

/// The jar in which everything is tried that ends nothing.
async fn first_jar(
    decided: &Decided,
    outside: &Outside,
    engine: &Engine,
    asked: &Asked,
) -> Result<InJar, ProveError> {
    let mut probes = asked.probes();
    probes.push(Probe::Wait {}.encode());
    let stand = Stand::of(&decided.plan, outside);
    prober::in_jar(decided, &stand, &probes, engine, seen::look).await
}

/// Plans anew where a failed step taught something of the machine, as a launch does.
fn learn(decided: &mut Decided, outcome: &Outcome) -> Result<(), LaunchError> {
    let ended = |decided: &Decided, outcome: &Outcome| LaunchError::Ended {
        report: Box::new(report::of_plan(
            "",
            None,
            &decided.plan,
            &decided.digest,
            outcome.clone(),
        )),
    };
    let Outcome::SetupFailed { step, errno } = outcome else {
        return Err(ended(decided, outcome));
    };
    let word = step.split(' ').next().unwrap_or(step);
    match decided.learn(word, *errno) {
        Learnt::BetterPlan => Ok(()),
        Learnt::Nothing => Err(ended(decided, outcome)),
        Learnt::Refusal(refused) => Err(ended(decided, &refused)),
    }
}

impl Asked {
    /// Everything that is tried of a plan's claims in the first jar.
    fn all(plan: &Plan, outside: &Outside) -> Self {
        let claimed = plan
            .rules
            .iter()
            .filter(|planned| planned.planned.strength != Strength::None);
        let checks = claimed.flat_map(|planned| {
            let checks: Vec<Check> = table::checks(planned.rule, plan, outside);
            checks.into_iter().map(|check| (planned.rule, check))
        });
        Self::new(checks.collect())
    }
}
