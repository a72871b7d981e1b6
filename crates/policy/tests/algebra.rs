//! What holds for every manifest, policy and flag: grants come from where they
//! may come from, and more restrictions never give more.

mod world;

use std::collections::BTreeMap;

use belljar_plan::{Limit, Preset};
use belljar_policy::{
    Policy, Refusal, UnixPath, Verified,
    effective::{Effective, effective},
    manifest::{Bound, Place},
    policy::Said,
};
use proptest::{prelude::*, sample::select};
use world::{PATHS, path, plugin, program, real};

/// A path that may or may not be there.
fn any_path() -> impl Strategy<Value = &'static str> {
    let mut all: Vec<&str> = PATHS.iter().map(|(from, _)| *from).collect();
    all.extend(["/gone", "/data/gone", "/link/gone"]);
    select(all)
}

fn some_paths() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(any_path(), 0..3)
}

/// A list of paths as TOML.
fn list(paths: &[&str]) -> String {
    let quoted: Vec<String> = paths.iter().map(|path| format!("'{path}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn optional(paths: &[&str]) -> String {
    let quoted: Vec<String> = paths
        .iter()
        .map(|path| format!("{{ path = '{path}', optional = true }}"))
        .collect();
    format!("[{}]", quoted.join(", "))
}

/// A launch: what a manifest asks for (all of it optional), what a policy's
/// file says, what the flags say.
#[derive(Clone, Debug)]
struct Case {
    asked: Option<(Vec<&'static str>, Vec<&'static str>, u64)>,
    file: Option<File>,
    flags: (Vec<&'static str>, Vec<&'static str>),
    preset: Option<Preset>,
}

#[derive(Clone, Debug)]
struct File {
    read: Option<Vec<&'static str>>,
    write: Option<Vec<&'static str>>,
    deny: Vec<&'static str>,
    processes: Option<u64>,
}

impl Case {
    fn verified(&self) -> Verified {
        match &self.asked {
            None => program(),
            Some((read, write, processes)) => plugin(&format!(
                "[filesystem]\nread = {}\nwrite = {}\n[limits]\nprocesses = {processes}\n",
                optional(read),
                optional(write)
            )),
        }
    }

    /// None where the file contradicts itself.
    fn policy(&self) -> Option<Policy> {
        let mut text = String::new();
        if let Some(file) = &self.file {
            text.push_str("[filesystem]\n");
            for (key, paths) in [("read", &file.read), ("write", &file.write)] {
                if let Some(paths) = paths {
                    text.push_str(&format!("{key} = {}\n", list(paths)));
                }
            }
            text.push_str(&format!("deny = {}\n", list(&file.deny)));
            if let Some(most) = file.processes {
                text.push_str(&format!("[limits]\nprocesses = {most}\n"));
            }
        }
        let mut policy = match &self.file {
            Some(_) => world_policy(&text)?,
            None => Policy::default(),
        };
        let places = |paths: &[&str]| {
            paths
                .iter()
                .map(|text| Place {
                    path: path(text),
                    at: None,
                })
                .collect()
        };
        policy.flags.read = places(&self.flags.0);
        policy.flags.write = places(&self.flags.1);
        policy.flags.preset = self.preset;
        Some(policy)
    }

    fn decide(&self) -> Option<Effective> {
        effective(&self.verified(), &self.policy()?).ok()
    }
}

fn world_policy(text: &str) -> Option<Policy> {
    Policy::parse(text, belljar_policy::policy::Format::Toml, "p", None).ok()
}

fn any_case() -> impl Strategy<Value = Case> {
    let file = (
        proptest::option::of(some_paths()),
        proptest::option::of(some_paths()),
        some_paths(),
        proptest::option::of(1..2000_u64),
    )
        .prop_map(|(read, write, deny, processes)| File {
            read,
            write,
            deny,
            processes,
        });
    (
        proptest::option::of((some_paths(), some_paths(), 1..2000_u64)),
        proptest::option::of(file),
        (some_paths(), some_paths()),
        proptest::option::of(select(Preset::ALL.to_vec())),
    )
        .prop_map(|(asked, file, flags, preset)| Case {
            asked,
            file,
            flags,
            preset,
        })
}

/// What may be read and written by it, where its paths really lead.
fn reach(effective: &Effective) -> BTreeMap<UnixPath, bool> {
    let mut reach = BTreeMap::new();
    for grant in &effective.grants {
        let to = real(&grant.path).unwrap();
        *reach.entry(to).or_default() |= grant.write;
    }
    reach
}

fn within(path: &UnixPath, allowed: &[Option<UnixPath>]) -> bool {
    allowed.iter().flatten().any(|over| path.is_within(over))
}

fn reals(paths: &[&str]) -> Vec<Option<UnixPath>> {
    paths.iter().map(|text| real(&path(text))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn grants_are_always_within_the_ceilings_or_the_flags(case in any_case()) {
        let Some(got) = case.decide() else { return Ok(()) };
        let none = Vec::new();
        let (read, write) = match &case.file {
            Some(file) => (file.read.as_ref().unwrap_or(&none), file.write.as_ref().unwrap_or(&none)),
            None => (&none, &none),
        };
        let mut writable = reals(write);
        writable.extend(reals(&case.flags.1));
        let mut readable = reals(read);
        readable.extend(reals(&case.flags.0));
        readable.extend(writable.clone());
        for (path, write) in reach(&got) {
            prop_assert!(within(&path, &readable), "{path}");
            prop_assert!(!write || within(&path, &writable), "{path}");
        }
    }

    #[test]
    fn nothing_granted_lies_in_what_is_denied(case in any_case()) {
        let Some(got) = case.decide() else { return Ok(()) };
        let deny = case.file.as_ref().map_or(Vec::new(), |file| reals(&file.deny));
        for path in reach(&got).keys() {
            prop_assert!(!within(path, &deny), "{path}");
        }
        // And what is denied below a grant is hidden.
        for denied in deny.iter().flatten() {
            prop_assert!(got.hidden.iter().any(|said| denied.is_within(&said.value)), "{denied}");
        }
    }

    #[test]
    fn a_deny_more_never_gives_more(case in any_case(), denied in any_path()) {
        let mut less = case.clone();
        let Some(file) = &mut less.file else { return Ok(()) };
        file.deny.push(denied);
        let Some(narrow) = less.decide() else { return Ok(()) };
        let policy = case.policy().expect("one with a deny more is one");
        let wide = match effective(&case.verified(), &policy) {
            Ok(wide) => wide,
            // What could not be hidden in a request lies in none, once that is denied.
            Err(Refusal::Invalid { reason }) if reason.contains("and is not there") => {
                return Ok(());
            }
            Err(refusal) => panic!("what is granted with a deny is granted without: {refusal}"),
        };
        for (path, write) in reach(&narrow) {
            let before = reach(&wide);
            prop_assert!(before.get(&path).is_some_and(|before| *before >= write), "{path}");
        }
        prop_assert_eq!(narrow.limits, wide.limits);
    }

    #[test]
    fn a_policy_s_file_never_gives_a_bare_program_anything(case in any_case()) {
        let mut with = case;
        with.asked = None;
        let mut without = with.clone();
        without.file = None;
        let Some(narrow) = with.decide() else { return Ok(()) };
        let wide = without.decide().expect("what is granted under a ceiling is granted without");
        prop_assert_eq!(&narrow.grants, &wide.grants);
        for (limit, said) in &narrow.limits {
            let most = wide.limits.get(limit).and_then(|said| said.value.hard);
            prop_assert!(most.is_none_or(|most| said.value.hard.is_some_and(|hard| hard <= most)));
        }
    }

    #[test]
    fn intersection_commutes_where_both_sides_name_the_same(asked in some_paths(), granted in some_paths(), deny in some_paths()) {
        // What one side asks and the other grants is the same when they change
        // places, for paths that are equal or nested.
        let reached = |asked: &[&'static str], granted: &[&'static str]| -> Option<Vec<UnixPath>> {
            let case = Case {
                asked: Some((asked.to_vec(), Vec::new(), 1)),
                file: Some(File { read: Some(granted.to_vec()), write: None, deny: deny.clone(), processes: None }),
                flags: (Vec::new(), Vec::new()),
                preset: None,
            };
            Some(reach(&case.decide()?).into_keys().collect())
        };
        let both = |at: &UnixPath, one: &[&'static str], other: &[&'static str]| {
            within(at, &reals(one)) && within(at, &reals(other))
        };
        if let (Some(there), Some(back)) = (reached(&asked, &granted), reached(&granted, &asked)) {
            for at in there.iter().chain(&back) {
                prop_assert!(both(at, &asked, &granted), "{at}");
            }
            // What both sides name exactly is in both.
            for at in there.iter().filter(|at| reals(&asked).contains(&Some((*at).clone())) && reals(&granted).contains(&Some((*at).clone()))) {
                prop_assert!(back.contains(at), "{at}");
            }
        }
    }

    #[test]
    fn the_order_of_what_is_said_changes_nothing(case in any_case()) {
        let mut turned = case.clone();
        if let Some((read, write, _)) = &mut turned.asked {
            read.reverse();
            write.reverse();
        }
        turned.flags.0.reverse();
        turned.flags.1.reverse();
        if let Some(file) = &mut turned.file {
            file.deny.reverse();
            file.read.iter_mut().for_each(|list| list.reverse());
            file.write.iter_mut().for_each(|list| list.reverse());
        }
        let (one, other) = (case.decide(), turned.decide());
        prop_assert_eq!(one.is_some(), other.is_some());
        if let (Some(one), Some(other)) = (one, other) {
            prop_assert_eq!(reach(&one), reach(&other));
            prop_assert_eq!(one.limits, other.limits);
        }
    }

    #[test]
    fn equal_input_gives_equal_output(case in any_case()) {
        let Some(policy) = case.policy() else { return Ok(()) };
        prop_assert_eq!(
            effective(&case.verified(), &policy),
            effective(&case.verified(), &policy.clone())
        );
    }

    #[test]
    fn a_limit_is_never_above_any_side_that_bounds_it(
        preset in select(Preset::ALL.to_vec()),
        asked in proptest::option::of((1..9999_u64, 1..9999_u64)),
        ceiling in proptest::option::of((1..9999_u64, 1..9999_u64)),
        at in 0..Limit::ALL.len(),
    ) {
        let limit = Limit::ALL[at];
        let bound = |(one, other): (u64, u64)| Bound {
            soft: Some(one.min(other)),
            hard: Some(one.max(other)),
            stop: false,
        };
        let mut verified = plugin("");
        if let (Some(asked), belljar_policy::verified::Subject::Plugin(plugin)) = (asked, &mut verified.subject) {
            plugin.manifest.limits.insert(limit, belljar_policy::manifest::Request {
                value: bound(asked),
                optional: false,
                origin: "m".into(),
            });
        }
        let mut policy = Policy::of(preset);
        if let Some(ceiling) = ceiling {
            let mut limits = BTreeMap::new();
            limits.insert(limit, Said { value: bound(ceiling), origin: "p".into() });
            policy.ceilings = Some(belljar_policy::policy::Ceilings { limits, ..Default::default() });
        }
        let got = effective(&verified, &policy).unwrap().limits;
        let base = belljar_policy::effective::preset_limits(preset).get(&limit).copied();
        let most = ceiling.map(bound).or(base);
        if let Some(said) = got.get(&limit) {
            for other in [asked.map(bound), most].into_iter().flatten() {
                prop_assert!(other.hard.is_none_or(|hard| said.value.hard.is_some_and(|got| got <= hard)));
            }
            prop_assert!(said.value.soft.is_none_or(|soft| said.value.hard.is_none_or(|hard| soft <= hard)));
        } else {
            prop_assert!(asked.is_none() && most.is_none());
        }
    }
}
