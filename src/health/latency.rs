//! How long a destination takes to answer its probes.
//!
//! Two readings: the average, which hardly moves, and an estimate that follows quickly (an exponentially weighted moving
//! average). Where the estimate is above the average the destination is slower than it used to be: congested.
//!
//! Manual of the stock module, `ds_ping_latency_stats` and `ds_latency_estimator_alpha`.

/// Samples after which the average is a weighted one itself: some three weeks at one a second.
const MOST: u32 = 1 << 21;
/// Samples until the estimate leaves the average.
const FIRST: u32 = 10;
/// What an average that is known beforehand, or has hardly varied so far, counts for.
const SETTLED: u32 = 10_000;
/// Milliseconds of deviation that are hardly any.
const STEADY: f64 = 0.5;

/// The figures of one destination, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Latency {
    samples: u32,
    /// The mean of the samples.
    pub average: f64,
    /// Sum of squared distances from the mean (B. P. Welford 1962).
    squares: f64,
    /// The moving average.
    pub estimate: f64,
    /// The largest sample.
    pub most: f64,
    /// Probes without an answer.
    pub timeouts: u32,
}

impl Latency {
    /// Known beforehand (`latency=`); 0 is not known.
    pub fn known(milliseconds: u32) -> Self {
        let value = f64::from(milliseconds);
        let samples = if milliseconds == 0 { 0 } else { SETTLED };
        Self { samples, average: value, estimate: value, most: value, ..Self::default() }
    }

    /// One more sample. `alpha`, from 0 to 1, is the weight of the newest in the estimate.
    pub fn sample(&mut self, milliseconds: f64, alpha: f64) {
        if self.samples < MOST {
            self.samples += 1;
        } else {
            self.squares -= self.squares / f64::from(self.samples);
        }
        let before = milliseconds - self.average;
        self.average += before / f64::from(self.samples);
        self.squares += before * (milliseconds - self.average);
        self.most = self.most.max(milliseconds);
        self.estimate = if self.samples < FIRST {
            self.average
        } else {
            alpha * milliseconds + (1.0 - alpha) * self.estimate
        };
        // One that has hardly varied is taken for known: from here on it moves slowly, and a rise shows as congestion.
        if (FIRST + 1..SETTLED).contains(&self.samples) && self.deviation() < STEADY {
            self.squares *= f64::from(SETTLED) / f64::from(self.samples);
            self.samples = SETTLED;
        }
    }

    /// Standard deviation of the samples.
    pub fn deviation(&self) -> f64 {
        if self.samples < 2 { 0.0 } else { (self.squares.max(0.0) / f64::from(self.samples - 1)).sqrt() }
    }

    /// How much slower than usual it is, in whole milliseconds.
    pub fn congestion(&self) -> u32 {
        (self.estimate - self.average).max(0.0) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_estimate_is_the_mean_at_first_and_then_follows_the_newest() {
        let mut latency = Latency::default();
        for value in [10.0, 20.0, 30.0] {
            latency.sample(value, 0.1);
        }
        assert_eq!((latency.average, latency.estimate, latency.most), (20.0, 20.0, 30.0));
        assert_eq!(latency.deviation(), 10.0);
        for _ in 3..9 {
            latency.sample(20.0, 0.1);
        }
        latency.sample(120.0, 0.1);
        assert!((latency.estimate - 30.0).abs() < 1e-9, "{latency:?}");
        assert!((latency.average - 30.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_known_beforehand_shows_a_rise_as_congestion() {
        let mut latency = Latency::known(20);
        assert_eq!((latency.average, latency.estimate), (20.0, 20.0));
        latency.sample(120.0, 0.25);
        assert_eq!(latency.estimate, 45.0);
        assert_eq!(latency.congestion(), 24);
        latency.sample(0.0, 1.0);
        assert_eq!(latency.congestion(), 0);
    }

    #[test]
    fn a_steady_average_settles() {
        let mut latency = Latency::default();
        for _ in 0..11 {
            latency.sample(5.0, 0.1);
        }
        for _ in 0..50 {
            latency.sample(55.0, 0.1);
        }
        assert!(latency.average < 5.5 && latency.congestion() > 45, "{latency:?}");
    }

    proptest! {
        #[test]
        fn the_figures_stay_within_the_samples(samples in prop::collection::vec(0.0..10_000.0, 1..200), alpha in 0.0..1.0) {
            let mut latency = Latency::default();
            samples.iter().for_each(|&sample| latency.sample(sample, alpha));
            let least = samples.iter().copied().fold(f64::MAX, f64::min) - 1e-6;
            let most = latency.most + 1e-6;
            prop_assert!((least..most).contains(&latency.average), "{latency:?}");
            prop_assert!((least..most).contains(&latency.estimate), "{latency:?}");
            prop_assert!(latency.deviation() <= most);
        }
    }
}
