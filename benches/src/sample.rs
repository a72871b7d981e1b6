//! Samples of one measured thing, and the order in which things are measured:
//! round robin, so that a noisy second hits everybody alike.

use std::time::Duration;

/// Times of one thing, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Microseconds; none where nothing was measured.
    pub(crate) fn summary(&self) -> Option<Summary> {
        Summary::of(self.0.iter().map(|time| time.as_secs_f64() * 1e6).collect())
    }
}

/// What is told of samples.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Summary {
    pub(crate) count: usize,
    pub(crate) min: f64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
}

impl Summary {
    /// None where there are no values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |percent: usize| values[(values.len() * percent / 100).min(last)];
        Some(Self {
            count: values.len(),
            min: at(0),
            p50: at(50),
            p95: at(95),
        })
    }
}

/// Measures each of `things` once a round; who goes first changes with the round.
///
/// A few rounds before the first are not counted. A thing that fails is told
/// once and left out from then on.
pub(crate) fn round_robin<T>(
    rounds: usize,
    things: &mut [T],
    mut measure: impl FnMut(&mut T) -> Result<Vec<Duration>, String>,
) -> Vec<Result<Vec<Samples>, String>> {
    const WARM_UP: usize = 3;
    let mut results: Vec<Result<Vec<Samples>, String>> =
        things.iter().map(|_| Ok(Vec::new())).collect();
    for round in 0..rounds + WARM_UP {
        for turn in 0..things.len() {
            let index = (round + turn) % things.len();
            let Ok(samples) = &mut results[index] else {
                continue;
            };
            match measure(&mut things[index]) {
                Ok(times) if round >= WARM_UP => {
                    samples.resize_with(times.len(), Samples::default);
                    for (samples, time) in samples.iter_mut().zip(times) {
                        samples.push(time);
                    }
                }
                Ok(_) => {}
                Err(reason) => results[index] = Err(reason),
            }
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_of_the_sorted_samples() {
        let mut samples = Samples::default();
        for micros in [5, 1, 4, 2, 3] {
            samples.push(Duration::from_micros(micros));
        }
        let summary = samples.summary().unwrap();
        assert!((summary.min - 1.0).abs() < 1e-6);
        assert!((summary.p50 - 3.0).abs() < 1e-6);
        assert!((summary.p95 - 5.0).abs() < 1e-6);
        assert_eq!(Samples::default().summary(), None);
    }

    #[test]
    fn everybody_is_measured_each_round_and_a_failure_ends_only_its_own() {
        let mut turns = [0_u32; 3];
        let mut names = [0, 1, 2];
        let results = round_robin(4, &mut names, |name| {
            turns[*name] += 1;
            if *name == 1 {
                Err("broken".to_owned())
            } else {
                Ok(vec![Duration::from_micros(1)])
            }
        });
        assert_eq!(turns, [7, 1, 7]);
        assert!(results[0].is_ok() && results[1].is_err() && results[2].is_ok());
    }
}
