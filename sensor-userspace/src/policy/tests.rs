mod agreement;
mod commands;
mod conditions;
mod contents;
mod docs;
mod errors;
mod exe;
mod fuzz;
mod globs;
mod hits;
mod hosts;
mod includes;
mod limited;
mod limits;
mod naive;
mod numbers;
mod places;
mod reference;
mod shipped;
mod unix;
mod written;

/// A reproducible source of randomness: the seed is printed, and `RGT_TEST_SEED` sets it.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(test: &str) -> Random {
        let given = std::env::var("RGT_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map(|now| now.as_nanos() as u64).unwrap_or(1)
        });
        println!("{test}: RGT_TEST_SEED={seed}");
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}
