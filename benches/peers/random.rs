//! The same pseudo-random numbers for all peers (splitmix64).

use std::time::Duration;

pub struct Random(u64);

impl Random {
    pub fn new() -> Random {
        Random(42)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index as u64 + 1) as usize);
        }
    }
}

/// Deadlines for the timers of a cancel workload: an hour away, spread over another hour.
pub fn far_away(random: &mut Random) -> Duration {
    Duration::from_secs(3600) + Duration::from_micros(random.below(3_600_000_000))
}
