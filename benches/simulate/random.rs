//! Numbers by chance, the same for the same seed (SplitMix64), and times made of them.

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Less than this.
    pub fn below(&mut self, most: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(most.max(1))) >> 64) as u64
    }

    /// Above 0 and at most 1.
    fn part(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Between events that come by chance, with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -self.part().ln() * mean
    }

    /// A log-normal time with this mean; `sigma` says how much it varies.
    pub fn log_normal(&mut self, mean: f64, sigma: f64) -> f64 {
        // Box and Muller, 1958.
        let normal = (-2.0 * self.part().ln()).sqrt() * (core::f64::consts::TAU * self.part()).cos();
        (mean.ln() - sigma * sigma / 2.0 + sigma * normal).exp()
    }

    /// A Pareto time with this mean: few are very long, and make most of the time.
    pub fn pareto(&mut self, mean: f64, shape: f64) -> f64 {
        mean * (shape - 1.0) / shape * self.part().powf(-1.0 / shape)
    }
}
