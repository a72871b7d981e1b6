//! What the machine says of the prober while it waits in its jar: who it is and
//! what it may, which nobody need ask it.

use belljar_plan::{
    Plan, Rule, Step,
    plan::MachineIdentity,
    proof::{Trial, Tried, Verdict},
};

use super::prober::InJar;
use crate::sys::prober::{Task, children, task};

/// What was looked at, from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The prober in the jar.
    pub(super) prober: Option<Task>,
    /// Whoever looks.
    pub(super) myself: Option<Task>,
    /// Every process of the jar below its pid 1.
    pub(super) all: Vec<Task>,
}

/// Looks at a jar whose prober waits, by its pid 1.
pub(super) async fn look(init: i32) -> Option<Seen> {
    let mut all = Vec::new();
    let mut queue = children(init).ok()?;
    while let Some(pid) = queue.pop() {
        if all.len() == 64 {
            break;
        }
        queue.extend(children(pid).unwrap_or_default());
        all.extend(task(pid).ok());
    }
    all.sort_by_key(|task| (task.started, task.pid));
    let myself = i32::try_from(std::process::id()).ok();
    Some(Seen {
        prober: all.first().cloned(),
        myself: myself.and_then(|pid| task(pid).ok()),
        all,
    })
}

/// What follows for the rules that the machine itself tells of.
pub(super) fn trials(plan: &Plan, jar: &InJar) -> Vec<(Rule, Trial)> {
    let prober = jar.seen.as_ref().and_then(|seen| seen.prober.as_ref());
    let myself = jar.seen.as_ref().and_then(|seen| seen.myself.as_ref());
    vec![
        (Rule::Identity, identity(plan, prober, myself, jar)),
        (Rule::Privileges, capabilities(prober, myself, jar)),
        (Rule::Privileges, no_new_privs(prober, myself, jar)),
        (Rule::Terminal, session(prober, myself, jar)),
    ]
}

/// A trial by a look: what is looked at of the prober must be as wanted, and the
/// same of prove itself, without a jar, is told beside it.
fn looked_at(
    what: &str,
    prober: Option<&Task>,
    myself: Option<&Task>,
    jar: &InJar,
    words: impl Fn(&Task) -> String,
    holds: impl Fn(&Task) -> bool,
) -> Trial {
    let (verdict, reason) = match prober {
        Some(prober) if holds(prober) => (Verdict::Held, None),
        Some(prober) => (Verdict::Broken, Some(format!("{what}: {}", words(prober)))),
        // It went all the way, so it was there to be seen.
        None if jar.answer(0).is_some() => (
            Verdict::NotProbed,
            Some("the machine's /proc does not show the jar's tasks".to_owned()),
        ),
        None => (jar.silence(), Some(jar.why_silent())),
    };
    let tried = |what: &str, task: &Task| Tried {
        what: what.to_owned(),
        answer: words(task),
    };
    Trial {
        probe: prober.map_or_else(
            || Tried {
                what: what.to_owned(),
                answer: "not seen".to_owned(),
            },
            |task| tried(what, task),
        ),
        control: None,
        without: myself.map(|task| tried("the same of prove itself", task)),
        verdict,
        reason,
    }
}

fn identity(plan: &Plan, prober: Option<&Task>, myself: Option<&Task>, jar: &InJar) -> Trial {
    let (what, is_it): (_, Box<dyn Fn(u32) -> bool>) = match plan.identity.machine {
        MachineIdentity::Own { first, count } => (
            format!(
                "the machine's uid and gid of it, of {first} to {}",
                u64::from(first) + u64::from(count) - 1
            ),
            Box::new(move |id| id.checked_sub(first).is_some_and(|at| at < count)),
        ),
        MachineIdentity::Caller { uid, .. } => (
            format!("the machine's uid of it, which is its starter's, {uid}"),
            Box::new(move |id| id == uid),
        ),
    };
    let own = matches!(plan.identity.machine, MachineIdentity::Own { .. });
    let words = |task: &Task| {
        let one = |ids: &[u32]| match ids {
            [first, rest @ ..] if rest.iter().all(|id| id == first) => first.to_string(),
            ids => format!("{ids:?}"),
        };
        let groups = match task.groups.as_slice() {
            [] => String::new(),
            groups => format!(", groups {groups:?}"),
        };
        format!("{}:{}{groups}", one(&task.uids), one(&task.gids))
    };
    // Root that is mapped elsewhere is root only here.
    let may_be_root = matches!(
        plan.identity.machine,
        MachineIdentity::Caller { uid: 0, .. }
    );
    looked_at(&what, prober, myself, jar, words, |task| {
        let all = task.uids.iter().chain(task.gids.iter().filter(|_| own));
        task.uids.iter().all(|id| is_it(*id))
            && all.clone().all(|id| !own || is_it(*id))
            && (may_be_root || task.uids.iter().all(|id| *id != 0))
            && (!own || task.groups.is_empty())
    })
}

fn capabilities(prober: Option<&Task>, myself: Option<&Task>, jar: &InJar) -> Trial {
    let words = |task: &Task| {
        let names = [
            "inheritable",
            "permitted",
            "effective",
            "bounding",
            "ambient",
        ];
        let some: Vec<&str> = names
            .into_iter()
            .zip(&task.capabilities)
            .filter(|(_, set)| **set != 0)
            .map(|(name, _)| name)
            .collect();
        match some.as_slice() {
            [] => "empty".to_owned(),
            some => format!("not empty: {}", some.join(", ")),
        }
    };
    looked_at(
        "its five sets of capabilities",
        prober,
        myself,
        jar,
        words,
        |task| task.capabilities.iter().all(|set| *set == 0),
    )
}

fn no_new_privs(prober: Option<&Task>, myself: Option<&Task>, jar: &InJar) -> Trial {
    let words = |task: &Task| match task.no_new_privs {
        true => "set".to_owned(),
        false => "not set".to_owned(),
    };
    looked_at("its no_new_privs", prober, myself, jar, words, |task| {
        task.no_new_privs
    })
}

fn session(prober: Option<&Task>, myself: Option<&Task>, jar: &InJar) -> Trial {
    let words = |task: &Task| {
        let session = match task.session == task.pid {
            true => "its own",
            false => "another's",
        };
        let terminal = match task.terminal {
            0 => "no terminal",
            _ => "a terminal",
        };
        format!("{session}, {terminal}")
    };
    looked_at("its session", prober, myself, jar, words, |task| {
        task.session == task.pid
    })
}

/// Whether a plan gives the jar a terminal of its own.
pub(super) fn has_terminal(plan: &Plan) -> bool {
    plan.steps
        .iter()
        .any(|step| matches!(step, Step::Session { terminal: true }))
}
