//! What a run found, as a table of at most 80 columns and as JSON.

use std::fmt;

use serde::Serialize;

use crate::sample::Summary;

/// One group of measurements.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// Of the rows' numbers.
    pub(crate) unit: &'static str,
    /// What the last column is a ratio to.
    pub(crate) compared_to: Option<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) notes: Vec<String>,
}

/// One measured thing.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) summary: Option<Summary>,
    /// Ratio of medians.
    pub(crate) ratio: Option<f64>,
    /// Why there are no numbers.
    pub(crate) missing: Option<String>,
}

/// A target of the design beside what was measured. Never an assertion: the
/// machine's noise is no reason to fail anything.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) measured: Option<f64>,
    /// The same of the shortest times: what is left of it on a busy machine.
    pub(crate) of_minima: Option<f64>,
    /// None where the design only asks to see the number.
    pub(crate) at_most: Option<f64>,
    pub(crate) met: Option<bool>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, result: Result<Option<Summary>, String>) -> Self {
        let (summary, missing) = match result {
            Ok(Some(summary)) => (Some(summary), None),
            Ok(None) => (None, Some("nothing was measured".to_owned())),
            Err(reason) => (None, Some(reason)),
        };
        Self {
            name: name.into(),
            summary,
            ratio: None,
            missing,
        }
    }

    /// Adds the ratio to a median.
    pub(crate) fn compare(&mut self, to: Option<f64>) {
        self.ratio = self.summary.zip(to).map(|(summary, to)| summary.p50 / to);
    }
}

impl Verdict {
    pub(crate) fn at_most(what: impl Into<String>, bound: f64, measured: Option<f64>) -> Self {
        Self {
            what: what.into(),
            measured,
            of_minima: None,
            at_most: Some(bound),
            met: measured.map(|measured| measured <= bound),
        }
    }

    pub(crate) fn beside(what: impl Into<String>, measured: Option<f64>) -> Self {
        Self {
            what: what.into(),
            measured,
            of_minima: None,
            at_most: None,
            met: None,
        }
    }

    /// The verdict on how one row compares to another: a target, or none.
    pub(crate) fn ratio(
        what: impl Into<String>,
        bound: Option<f64>,
        row: Option<Summary>,
        to: Option<Summary>,
    ) -> Self {
        let both = row.zip(to);
        let medians = both.map(|(row, to)| row.p50 / to.p50);
        let verdict = match bound {
            Some(bound) => Self::at_most(what, bound, medians),
            None => Self::beside(what, medians),
        };
        Self {
            of_minima: both.map(|(row, to)| row.min / to.min),
            ..verdict
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{} ({})", self.title, self.unit)?;
        let ratio = if self.compared_to.is_some() {
            "ratio"
        } else {
            ""
        };
        writeln!(
            f,
            "  {:<40}{:>9}{:>9}{:>9}{:>9}",
            "", "min", "p50", "p95", ratio
        )?;
        for row in &self.rows {
            write!(f, "  {:<40}", row.name)?;
            match (&row.summary, &row.missing) {
                (Some(s), _) => {
                    write!(f, "{:>9.1}{:>9.1}{:>9.1}", s.min, s.p50, s.p95)?;
                    match row.ratio {
                        Some(ratio) => writeln!(f, "{ratio:>9.2}")?,
                        None => writeln!(f)?,
                    }
                }
                (None, reason) => {
                    let reason = reason.as_deref().unwrap_or("not measured");
                    writeln!(f, " -")?;
                    writeln!(f, "    {}", shorten(reason))?;
                }
            }
        }
        if let Some(to) = &self.compared_to {
            writeln!(f, "  ratio: of medians, to {to}")?;
        }
        for verdict in &self.verdicts {
            writeln!(f, "  {verdict}")?;
        }
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured = self.measured.map_or("not measured".to_owned(), |measured| {
            format!("{measured:.2}")
        });
        let word = match (self.met, self.at_most) {
            (Some(true), _) => "met   ",
            (Some(false), _) => "MISSED",
            (None, Some(_)) => "open  ",
            (None, None) => "beside",
        };
        write!(f, "{word} {}: {measured}", self.what)?;
        let target = self.at_most.map(|bound| format!("target <= {bound:.2}"));
        let minima = self.of_minima.map(|ratio| format!("{ratio:.2} of minima"));
        let aside: Vec<String> = target.into_iter().chain(minima).collect();
        if aside.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", aside.join("; "))
    }
}

fn shorten(text: &str) -> String {
    const WIDTH: usize = 74;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(WIDTH - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_80_columns() {
        let mut row = Row::new(
            "a name of exactly the width that is let",
            Ok(Some(Summary {
                count: 1,
                min: 99_999.9,
                p50: 99_999.9,
                p95: 99_999.9,
            })),
        );
        row.compare(Some(1.0));
        let section = Section {
            name: "x",
            title: "title".into(),
            unit: "us",
            compared_to: Some("something".into()),
            rows: vec![row, Row::new("b", Err("reason ".repeat(40)))],
            verdicts: vec![Verdict::at_most("what", 1.0, Some(0.5))],
            notes: Vec::new(),
        };
        for line in section.to_string().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn a_verdict_without_a_measure_is_open() {
        assert_eq!(Verdict::at_most("x", 1.0, None).met, None);
        assert_eq!(Verdict::at_most("x", 1.0, Some(1.0)).met, Some(true));
        assert_eq!(Verdict::at_most("x", 1.0, Some(1.1)).met, Some(false));
    }
}
