//! Connections, and calls that the filter refuses without an event.

use belljar_plan::{
    Bytes, Namespaces, Plan, Step,
    answer::Verdict,
    observation::{Intent, Observation},
};

use super::{Gather, word};
use crate::{path::UnixPath, why::Question};

impl Gather<'_> {
    pub(super) fn connect(&mut self, row: &Observation) {
        let Ok(name) = std::str::from_utf8(&row.name.0) else {
            return self.refuse(
                format!("connect {}", row.name.escaped()),
                "it is no address that a grant can name".to_owned(),
                row.count,
            );
        };
        let answer = if let Some(path) = name.strip_prefix("unix:") {
            match UnixPath::new(path) {
                Ok(path) => {
                    let (answer, grant) = self.answers.to(&Question::Read(path.clone()));
                    // Shown, and what may be connected to is told by violations.
                    if answer.grant.is_none() && answer.verdict != Verdict::NotThere {
                        return self.use_up(Intent::Connect, &path, &answer);
                    }
                    if answer.verdict == Verdict::NotThere {
                        self.found.absent.push(row.name.clone());
                        return;
                    }
                    return self.denied(answer, grant, Vec::new(), row.count);
                }
                Err(_) => return self.named_socket(row, name),
            }
        } else {
            let Some((host, port)) = name.rsplit_once(':') else {
                return self.refuse(
                    format!("connect {}", row.name.escaped()),
                    "sockets of this kind reach nothing in a jar".to_owned(),
                    row.count,
                );
            };
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let loopback = bare
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback() || address.is_unspecified());
            if loopback && namespaces(self.plan).network {
                let by = "the jar's own network".to_owned();
                self.note_use(Intent::Connect, name.to_owned(), by);
                return;
            }
            let (answer, _) = self.answers.to(&Question::Connect {
                host: host.to_owned(),
                port: port.parse().unwrap_or(0),
            });
            answer
        };
        match answer.verdict {
            Verdict::Allowed => {
                self.note_use(Intent::Connect, name.to_owned(), word(&answer, self.plan));
            }
            _ => self.refuse(answer.question, answer.reason, row.count),
        }
    }

    /// A socket without a place among files.
    fn named_socket(&mut self, row: &Observation, name: &str) {
        if namespaces(self.plan).network {
            self.note_use(
                Intent::Connect,
                Bytes::from(name).escaped(),
                "the jar's own network".to_owned(),
            );
        } else {
            self.refuse(
                format!("connect {}", row.name.escaped()),
                "abstract sockets of the machine are not granted".to_owned(),
                row.count,
            );
        }
    }

    pub(super) fn call(&mut self, row: &Observation) {
        let arguments = row.arguments.join(", ");
        let answer = row.answer.as_deref().unwrap_or("an error");
        self.refuse(
            format!("call {}({arguments})", row.name.escaped()),
            format!("it answers {answer}, which programs usually take for an older kernel's"),
            row.count,
        );
    }
}

fn namespaces(plan: &Plan) -> Namespaces {
    let made = plan.steps.iter().find_map(|step| match step {
        Step::Clone { namespaces } => Some(*namespaces),
        _ => None,
    });
    made.unwrap_or_default()
}
