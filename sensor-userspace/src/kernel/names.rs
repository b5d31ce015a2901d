//! The filter of the names that lead on from a state, as the kernel side asks it (`table::names`). Names are known
//! by hashes of this boot's secret alone, so it is made when a policy is put in force.

use sensor_common::table::{State, names};

/// A state's filter, laid out for so many names, and filled one by one.
pub struct Filter {
    few: u32,
    cells: Vec<u64>,
}

impl Filter {
    pub fn new(count: usize) -> Filter {
        Filter { few: 0, cells: vec![0; names::cells(count) as usize] }
    }

    pub fn add(&mut self, hash: u64) {
        let mask = self.mask();
        match self.cells.get_mut(names::cell(hash, mask) as usize) {
            Some(cell) => *cell |= names::bit(hash),
            None => self.few |= names::bit_of_few(hash),
        }
    }

    fn mask(&self) -> u32 {
        (self.cells.len() as u32).saturating_sub(1)
    }

    pub fn cells(&self) -> &[u64] {
        &self.cells
    }

    /// Tells the state of it; the cells will stand from number `first` on.
    pub fn put(&self, first: u32, to: &mut State) {
        to.mask = self.mask();
        to.names = if self.cells.is_empty() { self.few } else { first };
    }
}

#[cfg(test)]
mod tests {
    use sensor_common::hash::{self, Secret};

    use super::*;

    const FIRST: u32 = 100;

    /// A filter of the names `0..count`, and a state that has it.
    fn of(count: usize, secret: Secret) -> (Filter, State) {
        let mut filter = Filter::new(count);
        (0..count).for_each(|n| filter.add(name(n, secret)));
        let mut state = State::default();
        filter.put(FIRST, &mut state);
        (filter, state)
    }

    /// Names as they are: alike but for a few bytes.
    fn name(n: usize, secret: Secret) -> u64 {
        hash::component(secret, format!("name{n}.log").as_bytes())
    }

    fn may_lead_on(filter: &Filter, state: &State, hash: u64) -> bool {
        state.may_lead_on(hash, |cell| filter.cells.get((cell - FIRST) as usize))
    }

    #[test]
    fn no_name_that_leads_on_is_missed() {
        for random in 0..40 {
            let secret = Secret::new(random);
            for count in (0..40).chain([100, 1_000, 1_025, 20_000]) {
                let (filter, state) = of(count, secret);
                assert!(
                    (0..count).all(|n| may_lead_on(&filter, &state, name(n, secret))),
                    "{count} names, secret of {random}"
                );
            }
        }
    }

    #[test]
    fn few_other_names_are_looked_for() {
        let others = 1_000..2_000;
        for count in [5, 8, 9, 16, 150, 1_000] {
            let mut passed = 0;
            for random in 0..40 {
                let secret = Secret::new(random);
                let (filter, state) = of(count, secret);
                passed += others.clone().filter(|n| may_lead_on(&filter, &state, name(*n, secret))).count();
            }
            assert!(passed * 15 < others.len() * 40, "{passed} of {} beside {count} names", others.len() * 40);
        }
    }

    #[test]
    fn a_filter_grows_with_its_names() {
        assert_eq!([0, 4, 5, 8, 9, 16, 17, 1_000].map(names::cells), [0, 0, 2, 2, 4, 4, 8, 256]);
    }

    /// What cannot be read is looked for.
    #[test]
    fn without_its_cells_every_name_may_lead_on() {
        let secret = Secret::new(1);
        let (_, state) = of(names::FEW + 1, secret);
        assert!((0..100).all(|n| state.may_lead_on(name(n, secret), |_| None)));
    }
}
