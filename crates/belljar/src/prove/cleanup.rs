//! Whether anything of a jar outlives it: a task in a session of its own, whose
//! parent is gone, and that holds the jar's stdout, must be gone with the jar.

use std::time::Duration;

use belljar_plan::{
    Rule, Strength,
    probe::{Came, Probe},
    proof::{Trial, Tried, Verdict},
};

use super::{
    judge::not_here,
    outside::Outside,
    prober::{InJar, Stand, in_jar, within},
    seen,
};
use crate::{
    launch::{Decided, Engine},
    sys::prober::{Task, end, still_runs},
};

/// The kernel has so long to take away what was killed.
const GONE_BY: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);

const WHAT: &str = "outlive the jar: a task that left its session and its parent";

/// The trial; none where the plan claims nothing.
pub(super) async fn seen(decided: &Decided, outside: &Outside, engine: &Engine) -> Option<Trial> {
    let claims = decided
        .plan
        .rules
        .iter()
        .any(|rule| rule.rule == Rule::Cleanup && rule.planned.strength != Strength::None);
    if !claims {
        return None;
    }
    let stand = Stand::of(&decided.plan, outside);
    let probes = [Probe::Leave {}.encode(), Probe::Wait {}.encode()];
    let jar = in_jar(decided, &stand, &probes, engine, seen::look);
    Some(match jar.await {
        Err(error) => Trial {
            verdict: Verdict::Broken,
            ..not_here(WHAT.to_owned(), error.to_string())
        },
        Ok(jar) => judge(&jar, engine).await,
    })
}

async fn judge(jar: &InJar, engine: &Engine) -> Trial {
    let all: &[Task] = jar.seen.as_ref().map_or(&[], |seen| &seen.all);
    let left = jar.answer(0).map(|answer| answer.came);
    if left != Some(Came::Done) || all.len() < 2 {
        // It is not there to be looked for, as where a plan allows one task.
        return Trial {
            verdict: match left {
                None => jar.silence(),
                Some(_) => Verdict::NotProbed,
            },
            ..not_here(
                WHAT.to_owned(),
                match left {
                    None => jar.why_silent(),
                    Some(_) => "no second task could be started in the jar".to_owned(),
                },
            )
        };
    }
    let gone = within(engine, GONE_BY, async {
        while all.iter().any(still_runs) {
            let pause = {
                let _inside = engine.runtime.enter();
                tokio::time::sleep(PAUSE)
            };
            pause.await;
        }
    });
    let gone = gone.await.is_some();
    let answer = match (gone, jar.closed) {
        (true, true) => "gone, and stdout at its end",
        (true, false) => "gone, but stdout is still held",
        (false, _) => "it still runs",
    };
    // Nothing that prove started is left, whatever the plan does.
    all.iter().filter(|task| still_runs(task)).for_each(end);
    let held = gone && jar.closed && jar.outcome.is_some();
    Trial {
        probe: Tried {
            what: WHAT.to_owned(),
            answer: answer.to_owned(),
        },
        control: Some(Tried {
            what: "live while the jar does: tasks seen from outside".to_owned(),
            answer: all.len().to_string(),
        }),
        without: None,
        verdict: match held {
            true => Verdict::Held,
            false => Verdict::Broken,
        },
        reason: (!held).then(|| format!("after the jar's end ({}): {answer}", jar.ended())),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::prober::Plain, *};
    use crate::sys::prober::{Prober, task};

    async fn sleeper(engine: &Engine) -> (Plain, Task) {
        let prober = Prober::new().unwrap();
        let wait = [Probe::Wait {}.encode()];
        let (plain, _) = Plain::start(prober.command(), &wait, engine).await.unwrap();
        let task = task(i32::try_from(plain.pid()).unwrap()).unwrap();
        (plain, task)
    }

    #[tokio::test]
    async fn what_outlives_its_jar_breaks_the_rule_and_is_ended() {
        let engine = Engine::get().unwrap();
        let (one, other) = (sleeper(&engine).await, sleeper(&engine).await);
        let all = vec![one.1.clone(), other.1.clone()];
        let trial = judge(&InJar::that_left(all.clone(), true), &engine).await;
        assert_eq!(trial.verdict, Verdict::Broken, "{trial:?}");
        assert_eq!(trial.probe.answer, "it still runs");
        // They are gone now, and the same is seen to hold.
        let trial = judge(&InJar::that_left(all.clone(), true), &engine).await;
        assert_eq!(trial.verdict, Verdict::Held, "{trial:?}");
        let trial = judge(&InJar::that_left(all, false), &engine).await;
        assert_eq!(trial.verdict, Verdict::Broken, "{trial:?}");
        assert_eq!(trial.probe.answer, "gone, but stdout is still held");
    }
}
