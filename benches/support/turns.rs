//! Measuring in turns: each thing once, then each again, so that what the machine does besides meets all alike.

/// What one thing took, a figure each turn.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<f64>);

impl Times {
    pub fn push(&mut self, time: f64) {
        self.0.push(time);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn best(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Measures each of these once a turn. Every other turn goes backwards: what drifts favours none.
pub fn in_turns<S>(turns: usize, subjects: &[S], mut measure: impl FnMut(&S) -> f64) -> Vec<Times> {
    let mut times = vec![Times::default(); subjects.len()];
    for turn in 0..turns {
        for at in 0..subjects.len() {
            let at = if turn % 2 == 0 { at } else { subjects.len() - 1 - at };
            times[at].push(measure(&subjects[at]));
        }
    }
    times
}
