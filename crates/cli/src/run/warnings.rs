//! What a run is warned of: grants that give away what a jar is there to protect,
//! by the judgement of `belljar policy check`. The run goes on: they were said.

use belljar_policy::{
    UnixPath,
    data::{Plan, plan::PlannedGrant},
    risk::{self, Level, Risk, Surroundings},
};

/// One line for each such grant of a plan, in their order.
pub(super) fn of_plan(plan: &Plan) -> Vec<String> {
    if plan.grants.is_empty() {
        return Vec::new();
    }
    let around = Surroundings::of(&belljar::verify::caller());
    of_grants(&plan.grants, &around)
}

fn of_grants(grants: &[PlannedGrant], around: &Surroundings) -> Vec<String> {
    let serious = grants
        .iter()
        .filter_map(|grant| Some((grant, of_grant(grant, around)?)));
    serious
        .map(|(grant, risk)| {
            let may = match grant.write {
                true => "write",
                false => "read",
            };
            let path = grant.path.escaped();
            format!(
                "warning: {} lets it {may} {path}: {}",
                grant.origin, risk.words
            )
        })
        .collect()
}

/// What would be no news is left out: that somebody may read what he named, unless
/// it gives everything away.
fn of_grant(grant: &PlannedGrant, around: &Surroundings) -> Option<Risk> {
    let path = UnixPath::new(std::str::from_utf8(&grant.path.0).ok()?).ok()?;
    let (risk, least) = match grant.write {
        true => (risk::of_write(&path, around)?, Level::High),
        false => (risk::of_read(&path, around)?, Level::Critical),
    };
    (risk.level >= least).then_some(risk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(path: &str, write: bool) -> PlannedGrant {
        PlannedGrant {
            path: path.into(),
            at: path.into(),
            write,
            origin: "policy.toml line 3".to_owned(),
        }
    }

    #[test]
    fn only_what_gives_the_jar_s_purpose_away_is_warned_of() {
        let around = Surroundings {
            homes: vec![UnixPath::new("/home/me").unwrap()],
            path_directories: Vec::new(),
        };
        let grants = [
            grant("/srv/data", true),
            grant("/home/me/.config/tool", false),
            grant("/home/me/.cache/tool", true),
            grant("/etc/passwd", false),
            grant("/etc/passwd", true),
            grant("/home/me/.ssh", false),
        ];
        assert_eq!(
            of_grants(&grants, &around),
            [
                "warning: policy.toml line 3 lets it write /etc/passwd: it takes the configuration of the whole machine (`/etc`)",
                "warning: policy.toml line 3 lets it read /home/me/.ssh: it holds private SSH keys (`~/.ssh`)",
            ]
        );
    }
}
